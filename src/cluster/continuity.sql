-- The guardian's statements; it is logged in as postgres over the socket.

-- name: observe :one
select json_build_object(
  'lsn', pg_current_wal_lsn(), 'now', (extract(epoch from clock_timestamp()) * 1000000)::bigint,
  'timeline', ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer,
  'synchronous_standby_names', current_setting('synchronous_standby_names'), 'names_from', (select s.sourcefile from pg_settings s where s.name = 'synchronous_standby_names'),
  'synchronous_commit', current_setting('synchronous_commit'),
  'archiver', (select json_build_object('archived', a.archived_count, 'last_wal', a.last_archived_wal, 'last_at', (extract(epoch from a.last_archived_time) * 1000000)::bigint,
      'failed', a.failed_count, 'last_failed_at', (extract(epoch from a.last_failed_time) * 1000000)::bigint, 'last_failed_wal', a.last_failed_wal) from pg_stat_archiver a),
  'receiver', (select json_build_object('state', r.state, 'write_lsn', r.write_lsn, 'flush_lsn', r.flush_lsn, 'sync_state', r.sync_state) from pg_stat_replication r
      where r.application_name = 'enishi_receiver' limit 1),
  'slot', (select json_build_object('wal_status', s.wal_status, 'restart_lsn', s.restart_lsn, 'active', s.active) from pg_replication_slots s where s.slot_name = 'enishi_receiver'))

-- name: wal_on_disk :one
select (select coalesce(sum(w.size), 0)::bigint from pg_ls_waldir() w), (select count(*) from pg_ls_archive_statusdir() f where f.name like '%.ready')

-- name: system_identifier :one
select system_identifier::text from pg_control_system()

-- name: has_schema :one
select to_regclass('public.continuity') is not null

-- name: heartbeat :one
insert into continuity (at, status) values (clock_timestamp(), $1::jsonb)
on conflict (singleton) do update set at = excluded.at, status = excluded.status returning (extract(epoch from at) * 1000000)::bigint

-- Before there is a schema: a commit all the same.
-- name: bare_heartbeat :one
select pg_current_xact_id()::text, (extract(epoch from clock_timestamp()) * 1000000)::bigint

-- name: position :one
select pg_current_wal_insert_lsn()::text

-- name: drop_slot :exec
select pg_drop_replication_slot(s.slot_name) from pg_replication_slots s where s.slot_name = 'enishi_receiver' and not s.active

-- name: take_request :optional
update continuity_request set state = 'RUNNING', started_at = clock_timestamp()
 where id = (select r.id from continuity_request r where r.state = 'WAITING' order by r.requested_at limit 1 for update skip locked) returning id::text, kind, name

-- What ran when the guardian ended did not end well.
-- name: abandon_requests :exec
update continuity_request set state = 'FAILED', finished_at = clock_timestamp(), detail = 'Enishi was stopped meanwhile' where state = 'RUNNING'

-- name: finish_request :exec
update continuity_request set state = case when $2::boolean then 'DONE' else 'FAILED' end, finished_at = clock_timestamp(), detail = $3::text where id = $1::uuid

-- name: ask :one
insert into continuity_request (kind, name, requested_by) values ($1::text, $2::text, 'command line') returning id::text

-- name: answer_to_request :optional
select state, coalesce(detail, '') from continuity_request where id = $1::uuid

-- name: mark :one
select pg_create_restore_point($1::text)::text

-- Exact counts of every table, partitions in their parent's.
-- name: count_rows :one
select coalesce(json_object_agg(c.relname, (xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %I.%I', n.nspname, c.relname), false, true, '')))[1]::text::bigint order by c.relname), '{}')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where n.nspname = 'public' and c.relkind in ('r', 'p') and not c.relispartition

-- name: where_it_ended :one
select pg_current_wal_lsn()::text, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer,
       (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint

-- name: drop_amcheck :exec
drop extension if exists amcheck
