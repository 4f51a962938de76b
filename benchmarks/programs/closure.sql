CREATE TABLE edge AS FROM read_csv('$folder/edge.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
WITH RECURSIVE path(x, y) AS (
    SELECT x, y FROM edge
    UNION
    SELECT path.x, edge.y FROM path JOIN edge ON path.y = edge.x
)
SELECT 'path', count(*) FROM path;
