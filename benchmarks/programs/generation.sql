CREATE TABLE parent AS FROM read_csv('$folder/parent.facts', delim = '\t', header = false, columns = {x: 'BIGINT', p: 'BIGINT'});
WITH RECURSIVE same(x, y) AS (
    SELECT a.x, b.x FROM parent a JOIN parent b USING (p)
    UNION
    SELECT a.x, b.x FROM same JOIN parent a ON a.p = same.x JOIN parent b ON b.p = same.y
)
SELECT 'same', count(*) FROM same;
