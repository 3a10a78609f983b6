-- The outbox in the order of (xid, id), below the oldest transaction that still runs: nobody can commit before a place that was read.

-- name: newest_event :one pipeline
-- Where the stream is now; (0, 0) when there are none.
select coalesce(max(e.xid::text), '0'), coalesce(max(e.id), 0)
  from (select o.xid, o.id from outbox o where o.xid < pg_snapshot_xmin(pg_current_snapshot()) order by o.xid desc, o.id desc limit 1) e

-- name: events_after :many pipeline
-- (xid, id): at most 1000. Whose it was until this change hears of it too: what was taken away from somebody must leave their screen.
select o.xid, o.id, o.kind, o.team_id, o.owner_id,
       json_build_object('kind', o.kind, 'entity', o.entity, 'entity_id', o.entity_id, 'at', o.at, 'payload', o.payload),
       former.team_id, former.owner_id, former.holder_id
  from outbox o
  left join lateral (
    select (h.content ->> 'team_id')::uuid as team_id, (h.content ->> 'owner_id')::uuid as owner_id, (h.content ->> 'assigned_to')::uuid as holder_id
      from history h where h.row_id = o.entity_id and h.at <= o.at order by h.at desc, h.id desc offset 1 limit 1) former on o.kind like '%.update'
 where o.xid < pg_snapshot_xmin(pg_current_snapshot()) and (o.xid, o.id) > ($1::xid8, $2::bigint)
 order by o.xid, o.id limit 1000

-- name: event_is_known :one pipeline
-- (xid, id): whether that row is still there, and with it everything after it.
select exists (select from outbox o where o.xid = $1::xid8 and o.id = $2::bigint)
