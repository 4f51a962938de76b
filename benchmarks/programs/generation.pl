:- set_prolog_flag(table_space, 4294967296).
:- table same/2.

same(X, Y) :- parent(X, P), parent(Y, P).
same(X, Y) :- same(P, Q), parent(X, P), parent(Y, Q).

main :- size(same(_, _)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
