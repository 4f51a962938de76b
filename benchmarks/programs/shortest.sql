CREATE TABLE edge AS FROM read_csv('$folder/edge.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT', w: 'BIGINT'});
CREATE TABLE distance AS
WITH RECURSIVE distance(x, d) USING KEY (x) AS (
    SELECT 0::BIGINT, 0::BIGINT
    UNION
    SELECT e.y, min(t.d + e.w) FROM distance t JOIN edge e USING (x)
    LEFT JOIN recurring.distance known ON known.x = e.y
    WHERE known.x IS NULL OR t.d + e.w < known.d GROUP BY e.y
)
FROM distance;
SELECT 'distance', count(*) FROM distance
UNION ALL
SELECT 'even', count(*) FROM distance WHERE d % 2 = 0;
