-- What is asked of a legacy system's PostgreSQL, besides its mapping's own statements.

-- name: snapshot :one
-- The snapshot of this transaction, and whether it sees every one of these transactions: a commit is in the WAL before others see it. The stream's
-- 32-bit numbers are widened to the nearest xid8.
select s.xmax::text, (select count(*) from pg_snapshot_xip(s.snapshot)),
       coalesce((select bool_and(pg_visible_in_snapshot((s.xmax + ((x - s.xmax + 2147483648) & 4294967295) - 2147483648)::text::xid8, s.snapshot)) from unnest($1::bigint[]) x), true)
  from (select c as snapshot, pg_snapshot_xmax(c)::text::bigint as xmax from pg_current_snapshot() c) s

-- name: horizon :one
-- Every transaction below the first number was over when this was asked; the second is the next to be given.
select pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint from pg_current_snapshot() s

-- name: columns :many
-- The columns of these tables ("schema.table"), with the place of each in the primary key (0: none) and the table's replica identity.
select t.name, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint, a.attnotnull, coalesce(array_position(i.indkey::int2[], a.attnum) + 1, 0), c.relreplident, c.relkind
  from unnest($1::text[]) t(name)
  join pg_namespace n on n.nspname = split_part(t.name, '.', 1)
  join pg_class c on c.relnamespace = n.oid and c.relname = substr(t.name, strpos(t.name, '.') + 1) and c.relkind in ('r', 'p')
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_index i on i.indrelid = c.oid and i.indisprimary
 order by t.name, a.attnum

-- name: slot :optional
-- What a slot holds back: bytes of WAL, and the end of the WAL.
select s.wal_status, coalesce(pg_wal_lsn_diff(w.position, s.restart_lsn), 0)::bigint, w.position, s.active
  from pg_replication_slots s, (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end as position) w where s.slot_name = $1

-- name: slot_past :optional
-- (slot, position): where the slot is, if that is further
select s.confirmed_flush_lsn::text from pg_replication_slots s where s.slot_name = $1 and s.confirmed_flush_lsn > nullif($2, '')::pg_lsn

-- name: drop_slot :exec
select pg_drop_replication_slot(s.slot_name) from pg_replication_slots s where s.slot_name = $1

-- name: publishes :optional
select p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate from pg_publication p where p.pubname = $1
