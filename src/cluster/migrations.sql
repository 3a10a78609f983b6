-- The runner's own statements. Migrations themselves are files in db/migrations.

-- name: table_exists :one
select to_regclass('schema_migration') is not null

-- name: applied :many
select version, name, checksum, applied_at::text, by_version from schema_migration order by version

-- name: newest :one pipeline
select coalesce(max(version), 0) from schema_migration

-- name: record :exec
insert into schema_migration (version, name, checksum, by_version) values ($1::integer, $2::text, $3::text, $4::text)

-- name: try_lock :one
select pg_try_advisory_lock(7310590571163)

-- name: unlock :one
select pg_advisory_unlock(7310590571163)

-- name: missing_roles :many
select wanted.name, mine.rolcreaterole or mine.rolsuper
from (values ('enishi_app'), ('enishi_read')) as wanted (name), pg_roles mine
where mine.rolname = current_user and not exists (select from pg_roles where rolname = wanted.name)

-- name: may_act_as_app :one
select session_user = 'enishi_app' or pg_has_role(session_user, to_regrole('enishi_app'), 'member')

-- name: has_history :one
select to_regclass('public.history') is not null and to_regclass('public.takeover_reverse') is not null

-- Transaction numbers in rows that came from another server, which this one has not given out yet; 0 or less where it counted them itself.
-- name: transactions_ahead :one
select coalesce(greatest((select h.xid from public.history h order by h.xid desc, h.id desc limit 1), (select r.xid from public.takeover_reverse r order by r.xid desc, r.id desc limit 1))::text::bigint, 0)
       - pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1
