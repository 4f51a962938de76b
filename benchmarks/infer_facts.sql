-- Facts of a training loop, one query for each relation; a column that is left out is 0, "" or false.
-- s: a step; t: its first moment; c: the call before its first; `looked` has the steps in which everything is looked at.

-- run
SELECT 'bench' AS run;

-- process
SELECT 'trainer' AS role, 1 AS world_size;

-- config
SELECT * FROM (VALUES ('seed', $seed::VARCHAR), ('steps', $steps::VARCHAR), ('lr', '0.' || $seed)) AS
    given(key, value), (SELECT 'argv' AS source);

-- module
SELECT 'Net' AS module, 'Net' AS class, 'Net' AS root;

-- parameter
SELECT p AS param, 'Net' AS root, 'Linear' AS class, 'float32' AS dtype, true AS trainable, 1 AS owners FROM
    params;

-- member
SELECT o AS optimizer, p AS param FROM params;

-- optimizer
SELECT o AS optimizer, o[:-3] AS class FROM optimizers;

-- scheduler
SELECT 'StepLR#0' AS scheduler, 'StepLR' AS class, 'SGD#0' AS optimizer;

-- loader
SELECT 'DataLoader#0' AS loader, true AS shuffle, 32 AS batch_size;

-- instrument_gap
SELECT unnest($sampled) AS relation, 3 AS first_step, -1 AS last_step, 'looked at in the first steps and in
    every 16th only' AS why;

-- recorded_steps
SELECT s AS first_step, s AS last_step, relation FROM looked, (SELECT unnest($sampled) AS relation) WHERE s >
    2;

-- step
SELECT s AS step, t AS "begin", t + 63 AS "end" FROM steps;

-- call
SELECT c + k AS call, api, object, CASE WHEN parent = 0 THEN 0 ELSE c + parent END AS parent, s AS step, t + b
    AS "begin", t + e AS "end" FROM steps, calls;

-- location
SELECT c + k AS call, '/home/me/train.py' AS file, 40 + k AS line, 'main' AS function FROM steps, calls;

-- batch
SELECT 'DataLoader#0' AS loader, s // $epoch AS epoch, s % $epoch AS index, s AS step, t + 1 AS "at", 32 AS
    size, bits('batch', s) AS data FROM steps;

-- batch_field
SELECT 'DataLoader#0' AS loader, s // $epoch AS epoch, s % $epoch AS index, s AS step, t + 1 AS "at", field,
    dtype, bits(field, s) AS data FROM steps, (VALUES ('0', 'float32'), ('1', 'int64')) AS given(field, dtype);

-- zero_grad
SELECT c + k AS call, object, s AS step, t + b AS "at", true AS set_to_none FROM steps, calls WHERE k < 3;

-- param_state
SELECT p AS param, 'Net' AS root, s AS step, t AS "at", bits(p, s) AS data, true AS finite FROM steps, params;

-- forward
SELECT c + 3 AS call, 'Net' AS module, 'Net' AS class, s AS step, t + 6 AS "begin", t + 20 AS "end", true AS
    training, true AS grad, 'DataLoader#0' AS loader, bits('input', s) AS input FROM steps;

-- module_call
SELECT c + 3 AS forward, 'Net.' || n AS module, 'Linear' AS class, s AS step, t + 7 AS "at", true AS training,
    true AS grad, 'float32' AS input_dtype, 'float32' AS weight_dtype, 'float32' AS output_dtype FROM looked,
    range(12) AS layers(n);

-- dropout_call
SELECT c + 3 AS forward, 'Net.5' AS module, 'torch.nn.functional.dropout' AS api, s AS step, t + 10 AS "at",
    0.1 AS p, true AS module_training, true AS root_training, true AS grad FROM looked;

-- rng
SELECT c + 3 AS forward, s AS step, 'torch' AS source, bits('rng', s) AS before, bits('rng', s + 1) AS after
    FROM looked;

-- loss_call
SELECT c + 7 AS call, 'torch.nn.functional.cross_entropy' AS api, s AS step, t + 22 AS "at", true AS grad,
    '32x10' AS input_shape, 'float32' AS input_dtype, -2.0 AS low, 3.0 AS high FROM looked;

-- backward
SELECT c + 8 AS call, s AS step, t + 24 AS "begin", t + 40 AS "end", 0.5 + 2.0 / (1 + s % 400) AS loss, true
    AS finite FROM steps;

-- accumulate
SELECT c + 8 AS call, p AS param, o AS optimizer, s AS nth, s AS step, t + 25 AS "at", 'none' AS onto FROM
    steps, params;

-- gradient_point
SELECT p AS param, s AS step, t + 41 AS "at" FROM looked, params;

-- clip
SELECT c + 9 AS call, 'norm' AS kind, o AS optimizer, s AS step, t + 42 AS "at", 1.0 AS "limit", 0.9 AS norm,
    12 AS params FROM steps, optimizers;

-- optimizer_step
SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, t + 4 * k + 4 AS "begin", t + 4 * k + 8 AS "end"
    FROM steps, optimizers;

-- gradient
SELECT c + k AS call, o AS optimizer, p AS param, s AS step, t + 44 AS "at", 'nonzero' AS class, 0.01 + 0.1 /
    (1 + s % 400) AS norm, bits('g' || p, s) AS data, true AS trainable FROM steps, params;

-- update
SELECT c + k AS call, o AS optimizer, p AS param, s AS nth, s AS step, 'nonzero' AS class, 0.1 AS lr, bits(p,
    s) AS before, bits(p, s + 1) AS after, true AS finite FROM steps, params;

-- param_group
SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, 0.1 / (1 + s // 1000) AS lr FROM steps, optimizers;

-- optimizer_state
SELECT c + k AS call, o AS optimizer, s AS nth, s AS step, 12 AS filled, s + 1 AS counter FROM steps,
    optimizers;

-- optimizer_slot
SELECT c + k AS call, o AS optimizer, p AS param, s AS step FROM looked, params;

-- scheduler_step
SELECT c + 12 AS call, 'StepLR#0' AS scheduler, 'SGD#0' AS optimizer, s AS nth, s AS step, t + 56 AS "at", 0.1
    / (1 + s // 1000) AS before, 0.1 / (1 + (s + 1) // 1000) AS after FROM steps;
