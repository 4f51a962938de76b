:- set_prolog_flag(table_space, 4294967296).
:- table points_to/2.

points_to(V, X) :- new(V, X).
points_to(V, X) :- assign(V, W), points_to(W, X).
points_to(V, X) :- load(V, W), points_to(W, P), points_to(P, X).
points_to(P, X) :- store(V, W), points_to(V, P), points_to(W, X).

main :- size(points_to(_, _)).

size(Goal) :- functor(Goal, Name, _), aggregate_all(count, Goal, Count), format("~w\t~w~n", [Name, Count]).
