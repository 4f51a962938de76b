:- set_prolog_flag(table_space, 4294967296).
:- table distance(_, min).

distance(0, 0).
distance(Y, L) :- distance(X, D), edge(X, Y, W), L is D + W.

even(X) :- distance(X, D), D mod 2 =:= 0.

main :- size(distance(_, _)), size(even(_)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
