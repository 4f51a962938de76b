CREATE TABLE node AS FROM read_csv('$folder/node.facts', delim = '\t', header = false, columns = {x: 'BIGINT'});
CREATE TABLE edge AS FROM read_csv('$folder/edge.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE both_ways AS SELECT x, y FROM edge UNION SELECT y, x FROM edge;
CREATE TABLE component AS
WITH RECURSIVE component(x, label) USING KEY (x) AS (
    SELECT x, x FROM node
    UNION
    SELECT e.y, min(c.label) FROM component c JOIN both_ways e USING (x)
    JOIN recurring.component known ON known.x = e.y WHERE c.label < known.label GROUP BY e.y
)
FROM component;
SELECT 'component', count(*) FROM component
UNION ALL
SELECT 'representative', count(*) FROM component WHERE x = label;
