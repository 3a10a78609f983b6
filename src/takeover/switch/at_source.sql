-- Calls of the functions that the source's owner installed (fence.hpp). Not prepared against Enishi's own schema.

-- name: raise_fence :one
-- (domain, epoch, seconds until it lapses, milliseconds for the locks): when it lapses.
select enishi.raise_fence($1::text, $2::bigint, $3::double precision, $4::integer)

-- name: mark :one
-- (domain, epoch): a commit in the published marker; everything before the position it returns was committed before.
select enishi.mark($1::text, $2::bigint)::text

-- name: seal_fence :one
select enishi.seal_fence($1::text, $2::bigint)

-- name: lower_fence :one
select enishi.lower_fence($1::text, $2::bigint)

-- name: sleep_fence :one
select enishi.sleep_fence($1::text, $2::integer)

-- name: has_fence :one
select to_regprocedure('enishi.drop_fence(text, bigint)') is not null

-- name: drop_fence :one
select enishi.drop_fence($1::text, $2::bigint)

-- name: fence :optional
-- (domain): state, epoch, whether it lapsed, its tables, the last batch of the reverse stream under it, and whether the setup that the owner ran counts them
select f.state, f.epoch, coalesce(f.lapses_at <= clock_timestamp(), false), (select count(*) from enishi.fenced_table t where t.domain = f.domain),
       coalesce((select (to_jsonb(r) ->> 'batch')::bigint from enishi.reversed r where r.domain = f.domain and (to_jsonb(r) ->> 'epoch')::bigint = f.epoch), 0),
       to_regprocedure('enishi.count_batch(text, bigint, bigint)') is not null
  from enishi.fence f where f.domain = $1

-- name: begin_reverse :one
-- (domain, epoch): marks this transaction as Enishi's own and holds the seal; (xid, id) written back so far.
select last_xid, last_id from enishi.begin_reverse($1::text, $2::bigint)

-- name: note_reversed :exec
-- (domain, xid, id, records, keys)
select enishi.note_reversed($1::text, $2::bigint, $3::bigint, $4::uuid[], $5::text[])

-- name: last_batch :one
-- (domain, epoch): the last batch under this fence. After begin_reverse, which keeps others from adding one.
select coalesce((select r.batch from enishi.reversed r where r.domain = $1 and r.epoch = $2::bigint), 0)

-- name: count_batch :exec
-- (domain, epoch, batch)
select enishi.count_batch($1::text, $2::bigint, $3::bigint)

-- name: reversed_keys :many
select record, key from enishi.reversed_keys($1::uuid[])

-- name: reversed :optional
select r.last_xid, r.last_id from enishi.reversed r where r.domain = $1

-- name: drop_slot :many
select pg_drop_replication_slot(s.slot_name) from pg_replication_slots s where s.slot_name = $1 and not s.active

-- name: end_stream :many
select pg_terminate_backend(s.active_pid) from pg_replication_slots s where s.slot_name = $1 and s.active

-- name: relations :many
-- These tables ("schema.table") with all their partitions and children.
with recursive r as (
  select c.oid from unnest($1::text[]) t(name) join pg_namespace n on n.nspname = split_part(t.name, '.', 1)
    join pg_class c on c.relnamespace = n.oid and c.relname = substr(t.name, strpos(t.name, '.') + 1)
  union select i.inhrelid from r join pg_inherits i on i.inhparent = r.oid)
select n.nspname || '.' || c.relname from r join pg_class c on c.oid = r.oid join pg_namespace n on n.oid = c.relnamespace
