"""The relations that a recorded run consists of: names, columns, types, meaning, cost.

This file is the single source. The writer lays out its rows by it, the reader builds Parquet columns by it, the rule
language takes its declarations from it, and the fact reference is printed from it.

Every relation but `run` starts with the column `rank`; it is not listed here and probes do not pass it. Every fact
also has an id, unique in its run, that evidence refers to; it is no column of the relation.

There is no NULL: a fact that was not observed is absent. Where an event may lack a partner, the neutral value (0 for
calls, "" for names) says "none" and the column's meaning says so.
"""

from __future__ import annotations

from typing import NamedTuple

#: Goes up where an older reader would take facts for something else, or a run may lack relations. Version 2: sampled
#: relations say when they were looked at. Version 3: how gradients flow, arguments of forwards, attention, schedulers.
SCHEMA_VERSION = 3
#: Why facts are missing where only some steps are recorded, and where a relation is looked at in some of these only;
#: the facts of `recorded_steps` say in which.
SAMPLED = "only some steps are recorded, to bound the overhead"
SPARSE = "looked at in the first steps and in every 16th only"

#: Entity type -> base type. Values of two entity types are never joined or compared with each other.
TYPES: dict[str, str] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "string": "string",
    "rank": "int",
    "step": "int",
    "call": "int",
    "time": "int",
    "fingerprint": "int",
    "api": "string",
    "param": "string",
    "buffer": "string",
    "module": "string",
    "optimizer": "string",
    "scheduler": "string",
    "scaler": "string",
    "loader": "string",
    "group": "string",
}

#: Types over whose values no rule may be learned: they name a moment or a bit pattern, not a property of training.
UNLEARNABLE = frozenset({"rank", "step", "call", "time", "fingerprint"})


class Column(NamedTuple):
    """One column: its type is a key of `TYPES`; `doc` gives meaning and unit."""

    name: str
    type: str
    doc: str = ""


class Relation(NamedTuple):
    """One relation of observed facts. `phase` orders relations within a training iteration, causes first."""

    name: str
    group: str
    phase: int
    doc: str
    columns: tuple[Column, ...]

    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


RANK = Column("rank", "rank", "process rank; 0 where nothing is distributed")


def _relation(name: str, group: str, phase: int, doc: str, columns: str, *, ranked: bool = True) -> Relation:
    """Build a relation from lines `name type meaning`."""
    parsed = []
    for line in columns.strip().splitlines():
        column, kind, *meaning = line.split(None, 2)
        if kind not in TYPES:
            raise ValueError(f"{name}.{column}: unknown type {kind}")
        parsed.append(Column(column, kind, meaning[0] if meaning else ""))
    return Relation(name, group, phase, doc, ((RANK,) if ranked else ()) + tuple(parsed))


# fmt: off
RELATIONS: tuple[Relation, ...] = (
    # ---------------------------------------------------------------- run
    _relation("run", "run", 0, "The run itself.", """
        run string name of the run folder
        command string the command line, words quoted
        schema int schema version
        status string running, finished, failed or killed
        python string version
        torch string version; "" where torch was never imported
        """, ranked=False),
    _relation("process", "run", 0, "One traced process that trained or loaded data.", """
        pid int operating system id, for humans
        role string trainer or worker
        world_size int size of the default process group, 1 without one
        distributed bool a process group was initialised
        """),
    _relation("config", "run", 0,
              "A setting found on the command line, or before the first step ends in frames of the script.", """
        key string flag without dashes; variable, or path in its container
        value string as text
        source string argv or frame
        container string variable that holds it, e.g. args or cfg; "" = it is a variable itself
        function string function whose variable it is; "" = of a module, or argv
        numeric bool it is a number
        number float the number, else 0
        """),
    _relation("setting", "run", 0,
              "A setting that an object has when the first step that it takes part in begins.", """
        kind string optimizer, scheduler, loader or module
        object string the object
        part int parameter group of an optimizer; 1 = sampler of a loader; else 0
        key string attribute or option, e.g. lr, betas.0, batch_size, p
        value string as text
        numeric bool it is a number
        number float the number, else 0
        """),
    _relation("instrument_gap", "run", 0, "Facts that were not recorded: their absence says nothing.", """
        relation string relation that misses facts
        first_step step first step without facts
        last_step step last step without facts; -1 = until the end
        why string reason
        """),
    _relation("recorded_steps", "run", 0, "Steps within a gap of sampled relations that were recorded after all.", """
        first_step step first step of the stretch
        last_step step its last step
        relation string relation that has a gap of its own, looked at in these steps; "*" = all that miss whole steps
        """),
    _relation("metric", "run", 12, "A number that the user's script reported with tcrules.emit.", """
        step step when
        name string name
        value float value
        """),
    # ---------------------------------------------------------------- time
    _relation("step", "time", 12, "A finished training step: all active optimizers stepped once.", """
        step step 0-based
        begin time first event
        end time last event
        """),
    _relation("epoch", "data", 2, "A data loader was iterated once more.", """
        loader loader the loader
        epoch int 0-based count of iterations over this loader
        step step when
        at time begin
        sampler_epoch int epoch that the sampler was told (DistributedSampler.set_epoch); -1 if it has none
        """),
    _relation("call", "calls", 5, "A call of a watched API.", """
        call call id
        api api qualified public name, e.g. torch.optim.Optimizer.step
        object string the object that it acts on (optimizer, module, …), "" if none
        parent call enclosing watched call; 0 = none
        step step when
        begin time entry
        end time return
        raised bool it raised an exception
        """),
    _relation("signature", "calls", 5, "What a function took and gave; in full mode.", """
        call call the call
        step step when
        given string arguments: tensors as dtype[shape], whole numbers, flags, dtypes; of all else the class
        result string likewise; "" = it raised
        """),
    _relation("location", "calls", 12, "The user's source line that made a call.", """
        call call the call
        file string path
        line int 1-based
        function string enclosing function
        """),
    # ---------------------------------------------------------------- structure
    _relation("module", "structure", 0, "A module of a model that ran forward or was copied.", """
        module module qualified name, starting with the model's own name
        class string class name
        root module the model
        kind string batch_norm, dropout, layer_norm, linear, conv, embedding, rnn, attention or other
        """),
    _relation("copy", "structure", 0, "A model was deep-copied (averages, target and teacher networks).", """
        root module the copy
        source module the original
        at time when
        """),
    _relation("copy_state", "state", 12,
              "A copy and the model that it was made of when a step ends; in the first steps, then sampled.", """
        root module the copy
        source module the original
        step step when
        at time when
        training bool training flag of the copy
        shared int parameters and buffers of the copy that lie where some of the original do
        buffers fingerprint of all buffers of the copy; 0 counts where one cannot be read
        source_buffers fingerprint of all buffers of the original
        """),
    _relation("wrapper", "structure", 0, "A model was wrapped for data parallel training.", """
        wrapper module the wrapper
        inner module the wrapped model
        kind string class name of the wrapper
        broadcast_buffers bool buffers are broadcast at each forward
        """),
    _relation("parameter", "structure", 0, "A parameter of a model that ran forward or was copied.", """
        param param qualified name; a tied parameter has one name
        root module the model
        module module first owner
        class string class name of the first owner
        dtype string e.g. float32
        size int number of elements
        trainable bool requires_grad when first seen
        created time when it was registered with a module; 0 = before recording began
        owners int number of modules that it is registered with
        split bool marked as a tensor-parallel shard
        trained_before bool its value was changed by an optimizer or loaded before it was first seen here
        """),
    _relation("trainability", "structure", 0,
              "requires_grad of a parameter at a forward, first time and on change.", """
        param param the parameter
        step step when
        at time when
        trainable bool requires_grad
        """),
    _relation("tie", "structure", 0, "Two attributes of a model were made the same parameter.", """
        root module the model
        first string path of the earlier owner
        second string path of the later owner
        at time when
        """),
    _relation("replacement", "structure", 1, "A part of a model that was met before was replaced by another.", """
        module module the module that holds it
        name string attribute
        kind string parameter or module
        step step when
        at time when
        owned bool an optimizer had what was there before, or some of it
        """),
    _relation("alias", "structure", 4,
              "Two tensors of models, not the same, lie in one memory; in the first steps, then sampled.", """
        first string parameter or buffer
        second string parameter or buffer that begins inside of it
        step step when
        at time when
        """),
    _relation("tie_state", "structure", 4, "Whether a tie still holds when the model trains.", """
        root module the model
        first string path
        second string path
        forward call forward that looked
        step step when
        tied bool both paths are one tensor
        """),
    _relation("init_call", "structure", 1, "A random in-place initialisation of a parameter, before training.", """
        call call id
        param param the parameter
        api api e.g. torch.Tensor.normal_
        arguments string the numbers passed
        at time when
        """),
    _relation("buffer", "structure", 0, "A buffer of a model.", """
        buffer buffer qualified name
        root module the model
        module module owner
        class string class name of the owner
        """),
    _relation("replicated", "structure", 0, "A tensor that is declared equal on all ranks of its group.", """
        name string qualified name of parameter or buffer
        by string what declares it: ddp, tensor_parallel
        """),
    _relation("sharded", "structure", 0, "A parameter of which each rank of a mesh holds a part.", """
        param param the parameter
        layout string what is done along each dimension of the mesh, e.g. dp:Replicate,tp:Shard(0)
        mesh string sizes of the mesh, e.g. 2x4
        held int elements that this rank holds
        """),
    # ---------------------------------------------------------------- forward
    _relation("forward", "forward", 4, "An outermost forward call of a model.", """
        call call id
        module module the model
        class string class name
        step step when
        begin time entry
        end time return
        training bool training flag of the model
        grad bool gradients are being recorded
        autocast string autocast dtype, "" = off
        mode_on int layers with mode-dependent behaviour (dropout p>0, batch norm) that are in training mode
        mode_off int such layers in evaluation mode
        frozen int parameters of the model with requires_grad = False
        loader loader loader that the input came from, "" = none
        input fingerprint of the tensor arguments
        """),
    _relation("module_call", "forward", 4,
              "A call of a leaf layer, recorded for the first steps and then sampled.", """
        forward call outermost forward
        module module the layer
        class string class name
        step step when
        at time when
        training bool training flag of the layer
        grad bool gradients are being recorded
        autocast string autocast dtype, "" = off
        input_dtype string of the first tensor argument
        weight_dtype string of its weight, "" = none
        output_dtype string of the first tensor returned
        """),
    _relation("layer_gradient", "forward", 4,
              "Whether gradients flow through a leaf layer that is called with them; sampled as `module_call`.", """
        forward call outermost forward
        module module the layer
        step step when
        at time when
        input bool a tensor that it is given requires a gradient
        output bool a tensor that it returns requires a gradient
        """),
    _relation("forward_argument", "forward", 4, "An argument of an outermost forward.", """
        forward call the forward
        module module the model
        step step when
        at time when
        argument string position from 0, or keyword
        kind string tensor (it is one, or holds some), none or other
        data fingerprint of its tensors; 0 = it has none
        """),
    _relation("forward_reached", "forward", 6,
              "Whether a backward of its step goes through the result of a forward with gradients; sampled.", """
        forward call the outermost forward
        module module the model
        step step when
        at time begin of that backward, or end of the step
        reached bool a backward goes through a tensor of the result
        """),
    _relation("attention_call", "forward", 4,
              "A function of attention was called, recorded for the first steps and then sampled.", """
        forward call outermost forward, 0 = none
        module module innermost module
        api api e.g. torch.nn.functional.scaled_dot_product_attention
        step step when
        at time when
        causal bool it is told to be causal
        masked bool a mask is given
        """),
    _relation("dropout_call", "forward", 4,
              "A functional that drops values at random was called with p > 0 and active.", """
        forward call outermost forward, 0 = none
        module module innermost module
        api api e.g. torch.nn.functional.dropout
        step step when
        at time when
        p float drop probability
        module_training bool training flag of the innermost module
        root_training bool training flag of the outermost module
        grad bool gradients are being recorded
        """),
    _relation("rng", "forward", 4, "State of a random number generator around an outermost forward.", """
        forward call the forward
        step step when
        source string torch, numpy, python; cuda = of the current device
        before fingerprint at entry
        after fingerprint at return
        """),
    _relation("param_state", "state", 4,
              "Value of a parameter at the first gradient forward of a step; of copies at the end of a step.", """
        param param the parameter
        root module the model
        step step when
        at time when
        data fingerprint value
        finite bool no NaN and no infinity
        """),
    _relation("buffer_state", "state", 4, "Value of a buffer around an outermost forward.", """
        buffer buffer the buffer
        root module the model
        forward call the forward
        step step when
        at time when
        before fingerprint at entry, after any broadcast
        after fingerprint at return
        finite bool no NaN and no infinity, at return
        """),
    _relation("mode_change", "forward", 3, "Module.train() or Module.eval() on a whole model.", """
        call call id
        module module the model
        step step when
        at time when
        training bool new flag
        """),
    _relation("autocast_region", "forward", 3, "An autocast region was left, or the recording ended in it.", """
        device string device type, e.g. cpu
        dtype string type that operations are cast to, "" = casting is off
        enabled bool casting is on
        cache bool cast weights are kept until the outermost region is left
        depth int regions around it
        step step when it was entered
        begin time when it was entered
        end time when it was left
        """),
    _relation("model_moved", "structure", 1, "A whole model was moved to a device or dtype.", """
        call call id
        module module the model
        api api e.g. torch.nn.Module.to
        step step when
        at time when
        from_device string devices of its parameters before, e.g. cpu
        to_device string afterwards
        from_dtype string dtypes before, e.g. float32
        to_dtype string afterwards
        params int parameters of the model
        replaced int of these, the ones that are other objects now
        owned int of these, the ones that an optimizer held before
        lost int of those, the ones that are other objects now: the optimizer steps what the model does not use
        """),
    _relation("generation", "forward", 4, "A method generate of a model returned sequences.", """
        call call id
        module module the model
        step step when
        at time when
        training bool training flag of the model
        grad bool gradients are being recorded
        max_length int argument; -1 = not given
        max_new_tokens int argument; -1 = not given
        min_length int argument; -1 = not given
        set_max_length int of the generation config; -1 = none
        set_max_new_tokens int of the generation config; -1 = none
        set_min_length int of the generation config; -1 = none
        prompt int length of the first sequences of whole numbers given, -1 = none
        returned int length of the sequences returned, prompt included or not as the method does; -1 = none
        """),
    _relation("seed", "forward", 3, "A global random generator was seeded.", """
        call call id
        api api e.g. torch.manual_seed
        value int seed
        step step when
        at time when
        """),
    # ---------------------------------------------------------------- loss and backward
    _relation("loss_call", "loss", 5, "A loss function was called.", """
        call call id
        api api e.g. torch.nn.functional.cross_entropy
        step step when
        at time when
        grad bool gradients are being recorded
        input_shape string e.g. 64x10
        target_shape string
        input_dtype string
        target_dtype string
        low float smallest input, sampled
        high float largest input
        normalised bool input is non-negative and each row sums to one
        """),
    _relation("backward", "backward", 6, "A backward pass.", """
        call call id
        step step when
        begin time entry
        end time return
        loss float value it starts from (as passed, scaled or not)
        finite bool the value is finite
        closure call optimizer step that called it, 0 = none
        """),
    _relation("loss_graph", "backward", 6, "What the value is made of that a backward starts from.", """
        call call the backward
        step step when
        at time begin of the backward
        made string last operation and those before it, e.g. AddBackward0(NllLossBackward0,MulBackward0); "" = none
        """),
    _relation("accumulate", "backward", 6, "A backward wrote into the gradient of a parameter.", """
        call call the backward
        param param the parameter
        optimizer optimizer its owner (the one stepped last, if several), "" = none so far
        nth int steps that the owner has taken so far = nth of its step that will use this gradient; -1 = no owner
        step step when
        at time end of the backward
        onto string gradient before: none, zero or nonzero
        """),
    _relation("gradient_point", "backward", 7,
              "Gradient of a parameter before it is that of a step (`gradient`); in the first steps, then sampled.", """
        call call what has just written it: the backward, unscaling, clipping
        point string backward, unscaled or clipped
        param param the parameter
        optimizer optimizer its owner, "" = none so far
        nth int steps that the owner has taken so far; -1 = no owner
        step step when
        at time when
        class string none, zero, nonzero or nonfinite
        norm float L2 norm, 0 for none
        data fingerprint value; 0 in runs of one process, where nothing compares it
        reduced string reduced (DDP averaged it) or local (it did not, as in no_sync), "" = in no DDP model
        """),
    _relation("zero_grad", "clear", 6, "Gradients were cleared.", """
        call call id
        object string optimizer or module
        step step when
        at time when
        set_to_none bool gradients became None
        """),
    # ---------------------------------------------------------------- scaler, clipping
    _relation("scaler", "scaler", 0, "A gradient scaler.", """
        scaler scaler name
        enabled bool it scales
        """),
    _relation("scaler_scale", "scaler", 5, "A loss was multiplied by the scale.", """
        call call id
        scaler scaler the scaler
        step step when
        at time when
        scale float factor
        """),
    _relation("scaler_unscale", "scaler", 7, "Gradients were divided by the scale.", """
        call call id
        scaler scaler the scaler
        optimizer optimizer whose gradients
        step step when
        at time when
        """),
    _relation("scaler_step", "scaler", 9, "A step was requested through a scaler.", """
        call call id
        scaler scaler the scaler
        optimizer optimizer the optimizer
        step step when
        at time when
        skipped bool the optimizer did not step (overflow)
        """),
    _relation("scaler_update", "scaler", 10, "The scale was updated.", """
        call call id
        scaler scaler the scaler
        step step when
        at time when
        before float scale
        after float scale
        """),
    _relation("clip", "clip", 8, "Gradients were clipped.", """
        call call id
        kind string norm or value
        optimizer optimizer that owns them, "" = none
        step step when
        at time when
        limit float maximal norm or value
        norm float norm that clipping returned, before clipping; -1 for kind value
        params int number of parameters
        """),
    # ---------------------------------------------------------------- optimizer
    _relation("optimizer", "optimizer", 0, "An optimizer.", """
        optimizer optimizer class name and ordinal, e.g. AdamW#0
        class string class name
        created time when it was made
        """),
    _relation("member", "optimizer", 0, "An optimizer owns a parameter.", """
        optimizer optimizer the optimizer
        param param the parameter
        group int parameter group
        since time when it was first seen there
        """),
    _relation("optimizer_step", "optimizer", 9,
              "A step of an optimizer; through a scaler also when it was skipped.", """
        call call id
        optimizer optimizer the optimizer
        nth int 0-based count of this optimizer's steps
        step step when
        begin time entry
        end time return
        skipped bool the scaler found an overflow
        closure bool the step evaluates a closure
        """),
    _relation("param_group", "optimizer", 9, "Settings of a parameter group at a step.", """
        call call the step
        optimizer optimizer the optimizer
        nth int count of the step
        step step when
        group int 0-based
        lr float learning rate
        weight_decay float 0 if the optimizer has none
        """),
    _relation("gradient", "optimizer", 9, "Gradient of an owned parameter when a step begins.", """
        call call the step
        optimizer optimizer the optimizer
        param param the parameter
        step step when
        at time when
        class string none, zero, nonzero or nonfinite
        norm float L2 norm, 0 for none
        data fingerprint value; 0 in runs of one process, where nothing compares it
        trainable bool requires_grad
        """),
    _relation("update", "optimizer", 9, "Value of an owned parameter around a step.", """
        call call the step
        optimizer optimizer the optimizer
        param param the parameter
        nth int count of the step
        step step when
        class string gradient: none, zero, nonzero or nonfinite
        lr float learning rate of its group
        before fingerprint value at entry
        after fingerprint value at return
        finite bool no NaN and no infinity, at return
        """),
    _relation("optimizer_state", "optimizer", 9, "State that an optimizer holds after a step.", """
        call call the step
        optimizer optimizer the optimizer
        nth int count of the step
        step step when
        filled int parameters with state
        counter int largest step counter in the state, -1 = it has none
        """),
    _relation("optimizer_slot", "optimizer", 9,
              "What an optimizer holds for a parameter after a step: first steps, after loading, then sampled.", """
        call call the step
        optimizer optimizer the optimizer
        param param the parameter
        nth int count of the step
        step step when
        kinds string names of the state's entries, sorted, e.g. exp_avg,exp_avg_sq,step
        dtype string of its tensors, e.g. float32; "" = it has none
        fits bool its tensors have the parameter's shape
        counter int its own step counter, else that of its group; -1 = none
        data fingerprint of its tensors; 0 in runs of one process, where nothing compares it
        """),
    _relation("scheduler", "scheduler", 0, "A learning-rate scheduler.", """
        scheduler scheduler class name and ordinal
        class string class name
        optimizer optimizer whose rate it sets
        created time when it was made
        """),
    _relation("scheduler_step", "scheduler", 11,
              "An outermost scheduler step, the one in the constructor left out.", """
        call call id
        scheduler scheduler the scheduler
        optimizer optimizer whose rate it sets
        nth int 0-based
        step step when
        at time when
        before float first group's learning rate
        after float the same, afterwards
        """),
    # ---------------------------------------------------------------- data
    _relation("loader", "data", 0, "A data loader.", """
        loader loader name, DataLoader and ordinal
        sampler string class name of the sampler
        shuffle bool the sampler is meant to change the order each epoch
        workers int number of worker processes
        batch_size int -1 = none
        length int batches per epoch, -1 = unknown
        """),
    _relation("batch", "data", 2, "A batch that a loader yielded.", """
        loader loader the loader
        epoch int count of iterations over this loader
        index int position in the epoch
        worker int worker that made it, -1 = main process
        step step when
        at time when
        size int first dimension of the first tensor
        data fingerprint of all its tensors
        """),
    _relation("batch_field", "data", 2, "One tensor of a batch.", """
        loader loader the loader
        epoch int count of iterations
        index int position in the epoch
        worker int worker that made it, -1 = main process
        step step when
        at time when
        field string path in the batch
        dtype string e.g. float32
        data fingerprint value
        constant bool all elements are equal
        """),
    _relation("batch_sample", "data", 2,
              "A sample of a batch: every 2ⁿth of the dataset, up to 512 an epoch and 64 a batch.", """
        loader loader the loader
        epoch int count of iterations over this loader
        index int position of the batch in the epoch
        place int position in the batch
        sample int index that the sampler gave; -1 = unknown, then evenly spaced ones are written
        step step when
        at time when
        input_field string path of the input in the batch
        label_field string path of the label: named so, or the second of a pair; "" = none
        input fingerprint the sample's input; 0 = not read
        label fingerprint its label; 0 = not read
        """),
    _relation("epoch_end", "data", 2, "A data loader was iterated to its end.", """
        loader loader the loader
        epoch int count of iterations over this loader
        step step when
        at time when
        batches int batches that were yielded
        samples int samples in them
        distinct int different indices among them; -1 = unknown (no indices, or a dataset above 16 million)
        dataset int length of the dataset, -1 = unknown
        order fingerprint of all indices in their order; 0 = unknown
        """),
    _relation("batch_use", "data", 5,
              "A tensor of a batch, or a view of it, was used; told for the first steps and then sampled.", """
        call call the forward or loss call
        role string input (of a forward) or target (of a loss)
        step step when
        at time when
        loader loader where it came from
        epoch int as in batch
        index int as in batch
        field string as in batch_field
        same bool it is as the loader yielded it
        """),
    _relation("worker_rng", "data", 2, "Random generators of a loader worker when it starts.", """
        loader loader the loader
        epoch int count of iterations
        worker int worker id
        source string torch, numpy or python
        data fingerprint state before the first sample
        used bool the first samples moved it
        """),
    # ---------------------------------------------------------------- distributed
    _relation("collective", "distributed", 7, "A collective operation that was called through torch.distributed.", """
        call call id
        group group process group
        nth int 0-based in its group
        op string e.g. all_reduce
        dtype string
        shape string
        step step when
        at time when
        reduction string sum, avg, …; "" = it reduces nothing
        size int ranks in the group
        async bool the result is there only when it was waited for
        peer int source or destination rank; -1 = none
        """),
    _relation("collective_data", "distributed", 7,
              "What went into a collective, and what came out; of an asynchronous one when it was waited for.", """
        call call the collective
        group group process group
        nth int as in collective
        op string e.g. all_reduce
        role string argument or result
        step step when
        at time when
        data fingerprint of the tensors; above 4 MB of evenly spaced parts
        norm float L2 norm; -1 = more than 64 kB, or no floating point
        """),
    # ---------------------------------------------------------------- persistence
    _relation("checkpoint_saved", "persistence", 12, "torch.save, or save_file of safetensors.", """
        call call id
        path string file, "" = a buffer
        step step when
        at time when
        model bool holds a state of a model
        optimizer bool holds a state of an optimizer
        tensors int number of tensors
        names fingerprint of the paths of all tensors
        scheduler bool holds a state of a scheduler
        scaler bool holds a state of a scaler
        rng bool holds a state of a random generator, by its key
        position bool holds where in its data the loop was (epoch, step, …), by its key
        """),
    _relation("checkpoint_loaded", "persistence", 1, "torch.load, or load_file of safetensors.", """
        call call id
        path string file, "" = a buffer
        step step when
        at time when
        model bool holds a state of a model
        optimizer bool holds a state of an optimizer
        saved_here bool it was saved by this process
        names fingerprint of the paths of all tensors
        scheduler bool holds a state of a scheduler
        scaler bool holds a state of a scaler
        rng bool holds a state of a random generator, by its key
        position bool holds where in its data the loop was (epoch, step, …), by its key
        """),
    _relation("model_loaded", "persistence", 1, "Module.load_state_dict on a whole model.", """
        call call id
        module module the model
        step step when
        at time when
        checkpoint call torch.load that the state came from, 0 = none
        keys int keys in the state
        missing int parameters and buffers that the state lacks
        unexpected int keys that the model lacks
        strict bool keys that do not fit are an error
        """),
    _relation("checkpoint_model", "persistence", 12,
              "A state of a model: one that is saved and was met in training, or one that is loaded.", """
        call call torch.save or Module.load_state_dict
        module module the model whose keys the state has most of
        keys int keys in the state
        missing int parameters and buffers of the model that the state lacks
        unexpected int keys that the model lacks
        shared int tensors of the state that are the model's own, not copies
        """),
    _relation("checkpoint_key", "persistence", 1,
              "A key of a model's state that does not fit; up to 64 of a kind per call.", """
        call call torch.save or Module.load_state_dict
        module module the model
        key string the key
        kind string missing (the state lacks it) or unexpected (the model lacks it)
        """),
    _relation("checkpoint_tensor", "persistence", 1,
              "A tensor in a state; of up to 64 evenly spaced ones per call.", """
        call call torch.save, torch.load, Module.load_state_dict or Optimizer.load_state_dict
        point string saved, read (torch.load returned it), given (to load_state_dict) or held (afterwards)
        key string path in the object or state
        name string parameter or buffer that it belongs to, "" = unknown
        dtype string e.g. float32
        size int number of elements
        data fingerprint value; above 4 MB of evenly spaced parts
        """),
    _relation("optimizer_loaded", "persistence", 1, "Optimizer.load_state_dict.", """
        call call id
        optimizer optimizer the optimizer
        step step when
        at time when
        checkpoint call torch.load that the state came from, 0 = none
        """),
    _relation("scheduler_loaded", "persistence", 1, "LRScheduler.load_state_dict.", """
        call call id
        scheduler scheduler the scheduler
        optimizer optimizer whose rate it sets
        step step when
        at time when
        """),
)
# fmt: on

#: Relations about objects: their facts are recorded before the first event that names the object, so that no later
#: fact changes what was said of it.
SETTLED = frozenset(
    [
        *(
            "run",
            "process",
            "config",
            "setting",
            "module",
            "copy",
            "wrapper",
            "parameter",
            "tie",
            "buffer",
            "replicated",
            "sharded",
        ),
        *("optimizer", "scheduler", "scaler", "loader"),
    ]
)

BY_NAME: dict[str, Relation] = {relation.name: relation for relation in RELATIONS}
