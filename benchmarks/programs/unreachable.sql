CREATE TABLE node AS FROM read_csv('$folder/node.facts', delim = '\t', header = false, columns = {x: 'BIGINT'});
CREATE TABLE edge AS FROM read_csv('$folder/edge.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE path AS
WITH RECURSIVE path(x, y) AS (
    SELECT x, y FROM edge
    UNION
    SELECT path.x, edge.y FROM path JOIN edge ON path.y = edge.x
)
FROM path;
CREATE TABLE unreachable AS SELECT a.x, b.x AS y FROM node a, node b WHERE NOT EXISTS
    (FROM path WHERE path.x = a.x AND path.y = b.x);
CREATE TABLE lonely AS SELECT x, count(y) FROM node LEFT JOIN unreachable USING (x) GROUP BY x;
SELECT 'path', count(*) FROM path
UNION ALL
SELECT 'unreachable', count(*) FROM unreachable
UNION ALL
SELECT 'lonely', count(*) FROM lonely;
