:- set_prolog_flag(table_space, 4294967296).
:- table path/2.

path(X, Y) :- edge(X, Y).
path(X, Z) :- path(X, Y), edge(Y, Z).

main :- size(path(_, _)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
