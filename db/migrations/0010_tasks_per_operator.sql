-- How many tasks one operator may hold at a time; the task's trigger keeps it.

insert into rule (name, effective_from, value, source) values ('tasks_per_operator', '2000-01-01', '1', 'one customer at a time');
