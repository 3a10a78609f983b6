-- The chain over history: what db/migrations/0022_records.sql makes of it.

-- A pace, so that sealing never takes more than a small part of what people's work takes; what a rush leaves is sealed when it is over.
-- name: seal_history :many
select seal_history(2000)

-- name: sealing_known :one
-- A database may be older than seals, or have no schema yet.
select to_regclass('public.history_seal') is not null

-- name: chain_length :one
-- Newest seal and its digest; rows sealed, and rows of today and yesterday that are not.
select coalesce(max(s.number), 0), coalesce((select encode(x.digest, 'hex') from history_seal x order by x.number desc limit 1), ''), coalesce(sum(cardinality(s.ids)), 0)
  from history_seal s

-- name: unsealed :one
select count(*) from history h
 where (h.xid, h.id) > (coalesce((select x.last_xid from history_seal x order by x.number desc limit 1), '0'::xid8), coalesce((select x.last_id from history_seal x order by x.number desc limit 1), 0))

-- name: seal_digest :optional
select encode(s.digest, 'hex') from history_seal s where s.number = $1::bigint

-- name: seal_problems :many
-- (from, to): a line for each row of history, or seal, that is not what was sealed.
select n.number, coalesce(p.problem, 'SEAL_MISSING'), p.id, p.at, p.table_name, p.row_id, p.actor
  from generate_series($1::bigint, $2::bigint) n(number)
  left join history_seal s on s.number = n.number
  left join lateral history_seal_problems(n.number) p on s.number is not null
 where s.number is null or p.problem is not null
 order by n.number, p.id limit 1000
