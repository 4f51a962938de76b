:- set_prolog_flag(table_space, 4294967296).
:- table component(_, min).

component(X, X) :- node(X).
component(Y, L) :- component(X, L), edge(X, Y).
component(X, L) :- component(Y, L), edge(X, Y).

representative(X) :- component(X, L), L = X.

main :- size(component(_, _)), size(representative(_)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
