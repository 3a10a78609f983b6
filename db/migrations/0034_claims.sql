-- no-transaction
-- What a claim reads: the ready tasks of one owner, or of nobody, in one team, or in none, from the best one on. Those of others are not walked over.
drop index concurrently if exists call_task_claim;
create index concurrently call_task_claim on call_task (owner_id, team_id, priority desc, due_at, id) where state = 'READY';
