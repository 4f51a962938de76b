"""The interactive prompt of `tcrules query`: `session` answers, `commands` are its words, `terminal` the screen."""
