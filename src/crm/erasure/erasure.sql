-- People erased by law: what db/migrations/0022_records.sql makes of it.

-- First step of an erasure: whoever begins something with the person at this moment comes before or after.
-- name: lock_person :exec
select lock_to_hide($1::uuid)

-- name: erase_customer :one
-- (id, customer, reason, mask)
select answer(200, json_build_object('id', e.id, 'customer_id', e.customer_id, 'kind', e.kind, 'reason', e.reason, 'until', e.until, 'places', e.places,
         'actor', e.actor, 'request_id', e.request_id, 'at', e.at))
  from erase_person($1::uuid, $2::uuid, $3, $4::boolean) e

-- name: list_erasures :many
-- (before, before_id, limit)
select json_build_object('id', e.id, 'customer_id', e.customer_id, 'kind', e.kind, 'reason', e.reason, 'until', e.until, 'places', e.places,
         'actor', e.actor, 'request_id', e.request_id, 'at', e.at), e.at, e.id
  from erasure e where (e.at, e.id) < ($1::timestamptz, $2::uuid) order by e.at desc, e.id desc limit $3::integer

-- name: erase_due :many
select erase_due()

-- name: erasures_to_keep :many
-- What the list beside the backups says, a line each.
select jsonb_build_object('id', e.id, 'customer_id', e.customer_id, 'kind', e.kind, 'reason', e.reason, 'until', e.until, 'actor', e.actor, 'at', e.at)::text, e.id
  from erasure e order by e.at, e.id

-- name: erasures_known :one
-- A database may be older than erasures, or have no schema yet.
select to_regclass('public.erasure') is not null

-- name: newest_erasure :one
select count(*), coalesce(max(e.at)::text, '') from erasure e

-- name: reapply_erasures :one
select reapply_erasures($1::jsonb)
