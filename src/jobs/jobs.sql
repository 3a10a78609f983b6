-- A job's row is its lock: whoever holds it runs the job, the others pass by and try again at their next tick.

-- name: register_job :exec
insert into job_run (name) values ($1::text) on conflict (name) do nothing

-- name: take_job :optional
select name from job_run where name = $1::text and next_run_at <= clock_timestamp() for update skip locked

-- name: job_done :exec
update job_run set last_run_at = now(), last_success_at = now(), next_run_at = clock_timestamp() + $2::double precision * interval '1 second', duration_ms = $3::double precision,
       affected = $4::bigint, runs = runs + 1, error = null
 where name = $1::text

-- name: job_failed :exec
update job_run set last_run_at = now(), next_run_at = clock_timestamp() + $2::double precision * interval '1 second', runs = runs + 1, failures = failures + 1, error = $3::text
 where name = $1::text

-- name: job_context :exec
select set_config('enishi.actor', 'job:' || $1::text, true), set_config('enishi.key', '', true)

-- name: prune_idempotency :many
delete from idempotency where ctid = any (array(select i.ctid from idempotency i where i.created_at < now() - interval '7 days' limit 5000)) returning 1

-- Partitions of the months to come.
-- name: ensure_history_partitions :many
select ensure_history_partitions()

-- A constraint does not know the time: holds nobody booked are let go, so that lists show the places as free.
-- name: release_expired_holds :many
with expired as (
  select a.id from appointment a where a.state = 'HELD' and a.hold_expires_at <= now() order by a.hold_expires_at limit 500 for update skip locked)
update appointment a set state = 'CANCELLED', cancelled_by = 'SYSTEM', cancel_reason = 'hold expired', hold_expires_at = null from expired where a.id = expired.id returning a.id
