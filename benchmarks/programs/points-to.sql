CREATE TABLE new AS FROM read_csv('$folder/new.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE assign AS FROM read_csv('$folder/assign.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE load AS FROM read_csv('$folder/load.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE store AS FROM read_csv('$folder/store.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
-- Not linear: the new facts (`points_to`) meet all facts (`recurring.points_to`) on both sides.
WITH RECURSIVE points_to(v, x) USING KEY (v, x) AS (
    FROM new
    UNION
    (SELECT DISTINCT v, x FROM (
        SELECT assign.x, p.x FROM assign JOIN points_to p ON p.v = assign.y
        UNION ALL
        SELECT load.x, q.x FROM load JOIN points_to p ON p.v = load.y JOIN recurring.points_to q ON q.v = p.x
        UNION ALL
        SELECT load.x, p.x FROM load JOIN recurring.points_to q ON q.v = load.y JOIN points_to p ON p.v = q.x
        UNION ALL
        SELECT p.x, q.x FROM store JOIN points_to p ON p.v = store.x JOIN recurring.points_to q ON q.v = store.y
        UNION ALL
        SELECT q.x, p.x FROM store JOIN recurring.points_to q ON q.v = store.x JOIN points_to p ON p.v = store.y
    ) AS found(v, x) ANTI JOIN recurring.points_to AS known USING (v, x))
)
SELECT 'points_to', count(*) FROM points_to;
