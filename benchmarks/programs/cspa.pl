:- set_prolog_flag(table_space, 4294967296).
:- table value_flow/2, value_alias/2, memory_alias/2.

value_flow(Y, X) :- assign(Y, X).
value_flow(X, Y) :- assign(X, Z), memory_alias(Z, Y).
value_flow(X, Y) :- value_flow(X, Z), value_flow(Z, Y).
value_flow(X, X) :- assign(X, _).
value_flow(X, X) :- assign(_, X).
memory_alias(X, W) :- dereference(Y, X), value_alias(Y, Z), dereference(Z, W).
memory_alias(X, X) :- assign(_, X).
memory_alias(X, X) :- assign(X, _).
value_alias(X, Y) :- value_flow(Z, X), value_flow(Z, Y).
value_alias(X, Y) :- value_flow(Z, X), memory_alias(Z, W), value_flow(W, Y).

main :- size(value_flow(_, _)), size(value_alias(_, _)), size(memory_alias(_, _)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
