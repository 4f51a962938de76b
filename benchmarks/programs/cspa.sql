CREATE TABLE assign AS FROM read_csv('$folder/assign.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
CREATE TABLE dereference AS FROM read_csv('$folder/dereference.facts', delim = '\t', header = false, columns = {x: 'BIGINT', y: 'BIGINT'});
-- Three relations in one table: 0 value_flow, 1 value_alias, 2 memory_alias. New facts (`facts`) meet all facts
-- (`recurring.facts`) at each place of each rule.
WITH RECURSIVE facts(k, x, y) USING KEY (k, x, y) AS (
    (SELECT 0, x, y FROM assign UNION SELECT 0, x, x FROM assign UNION SELECT 0, y, y FROM assign
     UNION SELECT 2, x, x FROM assign UNION SELECT 2, y, y FROM assign)
    UNION
    (SELECT DISTINCT k, x, y FROM (
        SELECT 0, a.x, f.y FROM assign a JOIN facts f ON f.k = 2 AND f.x = a.y
        UNION ALL
        SELECT 0, f.x, g.y FROM facts f JOIN recurring.facts g ON f.k = 0 AND g.k = 0 AND g.x = f.y
        UNION ALL
        SELECT 0, g.x, f.y FROM facts f JOIN recurring.facts g ON f.k = 0 AND g.k = 0 AND g.y = f.x
        UNION ALL
        SELECT 2, d.y, e.y FROM facts f JOIN dereference d ON f.k = 1 AND d.x = f.x JOIN dereference e ON e.x = f.y
        UNION ALL
        SELECT 1, f.y, g.y FROM facts f JOIN recurring.facts g ON f.k = 0 AND g.k = 0 AND g.x = f.x
        UNION ALL
        SELECT 1, g.y, f.y FROM facts f JOIN recurring.facts g ON f.k = 0 AND g.k = 0 AND g.x = f.x
        UNION ALL
        SELECT 1, f.y, h.y FROM facts f JOIN recurring.facts g ON f.k = 0 AND g.k = 2 AND g.x = f.x
            JOIN recurring.facts h ON h.k = 0 AND h.x = g.y
        UNION ALL
        SELECT 1, f.y, h.y FROM facts g JOIN recurring.facts f ON g.k = 2 AND f.k = 0 AND f.x = g.x
            JOIN recurring.facts h ON h.k = 0 AND h.x = g.y
        UNION ALL
        SELECT 1, f.y, h.y FROM facts h JOIN recurring.facts g ON h.k = 0 AND g.k = 2 AND g.y = h.x
            JOIN recurring.facts f ON f.k = 0 AND f.x = g.x
    ) AS found(k, x, y) ANTI JOIN recurring.facts AS known USING (k, x, y))
)
SELECT ['value_flow', 'value_alias', 'memory_alias'][k + 1], count(*) FROM facts GROUP BY k;
