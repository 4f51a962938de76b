"""The bundled training script with a silent error that `tcrules demo` finds and explains."""
