:- set_prolog_flag(table_space, 4294967296).
:- table path/2.

path(X, Y) :- edge(X, Y).
path(X, Z) :- path(X, Y), edge(Y, Z).

:- dynamic reached/2.
unreachable(X, Y) :- node(X), node(Y), \+ reached(X, Y).
lonely(X, N) :- node(X), aggregate_all(count, (node(Y), \+ reached(X, Y)), N).

% One table for all pairs, then looked up: a table for each pair that is asked for would repeat the search.
main :-
    forall(path(X, Y), assertz(reached(X, Y))),
    size(path(_, _)), size(unreachable(_, _)), size(lonely(_, _)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
