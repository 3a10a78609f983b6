-- Who changed what. Rights: `team` sees rows that belong to one of the caller's teams now, or to a customer who does; rows of nobody's are
-- for `all`.

-- name: list_history :many
-- (row, scope, teams, before, before_id, limit): newest first; `erased` where the content was a person's and is gone.
select json_build_object('id', h.id, 'at', h.at, 'table', h.table_name, 'row_id', h.row_id, 'customer_id', h.customer_id, 'op', h.op, 'actor', h.actor,
         'actor_name', (select u.display_name from app_user u where u.id = case when h.actor like 'user:%' then substr(h.actor, 6)::uuid end),
         'request_id', h.request_id, 'before', c.before, 'content', h.content, 'changed', coalesce(c.changed, '[]'),
         'erased', h.content is null, 'digest', encode(coalesce(h.digest, sha256(uuid_send(h.salt) || convert_to(h.content::text, 'UTF8'))), 'hex')), h.at, h.id
  from history h
  left join lateral (select p.content from history p where p.row_id = h.row_id and p.table_name = h.table_name and (p.at, p.id) < (h.at, h.id)
                      order by p.at desc, p.id desc limit 1) was on h.op = 'UPDATE'
  left join lateral (select jsonb_object_agg(o.key, o.value) as before, json_agg(o.key order by o.key) filter (where o.key not in ('version', 'updated_at')) as changed
                       from jsonb_each(was.content) o where h.content is not null and o.value is distinct from h.content -> o.key) c on true
 where h.row_id = $1 and (h.at, h.id) < ($4::timestamptz, $5::bigint)
   and h.table_name = any (history_tables()) and sees_history(h.content, h.customer_id, $2::text, $3::uuid[])
 order by h.at desc, h.id desc limit $6::integer

-- name: get_record_as_of :optional
-- (table, row, moment, scope, teams, parts): the row as it was, with its own parts if asked; no content: erased.
with known as materialized (select r.table_name, r.row_id, r.at, r.op, r.actor, r.request_id, r.content, r.customer_id from record_as_of($1, $2, $3, $6::boolean) r)
select case when h.content is null then null else jsonb_build_object('table', h.table_name, 'row_id', h.row_id, 'as_of', $3::timestamptz, 'changed_at', h.at, 'actor', h.actor,
         'request_id', h.request_id, 'deleted', h.op = 'DELETE', 'record', h.content)
       || case when $6 then jsonb_build_object('parts', (select coalesce(jsonb_agg(jsonb_build_object('table', k.table_name, 'row_id', k.row_id, 'changed_at', k.at, 'actor', k.actor,
               'record', k.content) order by k.table_name, k.content ->> 'position', k.row_id), '[]')
             from (select k.table_name, k.row_id, k.at, k.actor, k.content from known k where k.row_id <> $2 or k.table_name <> $1) k
            where k.content is not null and k.content ->> 'deleted_at' is null)) else '{}' end end
  from known h
 where h.row_id = $2 and h.table_name = $1 and sees_history(h.content, h.customer_id, $4::text, $5::uuid[])

-- name: list_records_as_of :many
-- (table, moment, scope, teams, after, limit): rows in the order of their ids; a page may hold fewer, for what was not there or is not the caller's is left out.
select case when r.content is not null and r.op <> 'DELETE' and sees_history(r.content, r.customer_id, $3::text, $4::uuid[])
            then jsonb_build_object('table', $1::text, 'row_id', r.row_id, 'changed_at', r.at, 'actor', r.actor, 'record', r.content) end, r.row_id
  from records_as_of($1, $2::timestamptz, $5::uuid, $6::integer) r order by r.row_id

-- name: list_customer_records_as_of :many
-- (table, moment, scope, teams, customer): all of one customer's, at most 500.
select jsonb_build_object('table', k.table_name, 'row_id', k.row_id, 'changed_at', k.at, 'actor', k.actor, 'record', k.content), k.row_id
  from (select distinct on (h.row_id) h.table_name, h.row_id, h.at, h.op, h.actor, h.content, h.customer_id from history h
         where h.customer_id = $5::uuid and h.table_name = $1::text and h.at <= $2::timestamptz order by h.row_id, h.at desc, h.id desc) k
 where k.content is not null and k.op <> 'DELETE' and sees_history(k.content, k.customer_id, $3::text, $4::uuid[])
 order by k.row_id limit 500

-- name: compare_record :optional
-- (table, row, from, to, scope, teams): what differs between two moments, the record first and then its own parts.
with was as materialized (select r.table_name, r.row_id, r.op, r.content, r.customer_id from record_as_of($1, $2, $3, true) r),
became as materialized (select r.table_name, r.row_id, r.op, r.content, r.customer_id from record_as_of($1, $2, $4, true) r),
both_sides as (
  select coalesce(a.table_name, b.table_name) as table_name, coalesce(a.row_id, b.row_id) as row_id,
         case when a.op <> 'DELETE' and a.content ->> 'deleted_at' is null then a.content end as before, case when b.op <> 'DELETE' and b.content ->> 'deleted_at' is null then b.content end as after,
         (a.row_id is not null and a.content is null or b.row_id is not null and b.content is null) as erased
    from was a full join became b on b.row_id = a.row_id and b.table_name = a.table_name),
differences as (
  select d.table_name, d.row_id, d.erased, d.before is null as came, d.after is null as went,
         (select coalesce(jsonb_agg(jsonb_build_object('field', k.key, 'from', d.before -> k.key, 'to', d.after -> k.key) order by k.key), '[]')
            from jsonb_object_keys(coalesce(d.before, '{}') || coalesce(d.after, '{}')) k(key)
           where d.before -> k.key is distinct from d.after -> k.key and k.key not in ('version', 'updated_at')) as fields
    from both_sides d where d.erased or d.before is distinct from d.after)
select jsonb_build_object('table', $1::text, 'row_id', $2::uuid, 'from', $3::timestamptz, 'to', $4::timestamptz,
         'changes', coalesce((select jsonb_agg(jsonb_build_object('table', d.table_name, 'row_id', d.row_id, 'erased', d.erased,
             'op', case when d.came then 'INSERT' when d.went then 'DELETE' else 'UPDATE' end, 'fields', case when d.erased then '[]' else d.fields end)
             order by d.row_id <> $2, d.table_name, d.row_id) from (select d.table_name, d.row_id, d.erased, d.came, d.went, d.fields from differences d limit 500) d
           where d.erased or d.came or d.went or d.fields <> '[]'), '[]'))
  from became b where b.row_id = $2 and b.table_name = $1 and sees_history(b.content, b.customer_id, $5::text, $6::uuid[])

-- name: sees_record :one
-- (table, row, scope, teams): whether there is such a record for the caller, now or once.
select exists (select from (select h.content, h.customer_id from history h where h.row_id = $2 and h.table_name = $1 order by h.at desc, h.id desc limit 1) h
                where sees_history(h.content, h.customer_id, $3::text, $4::uuid[]))

-- name: preview_put_back :one
select put_back_preview($1::jsonb, $2::text, $3::uuid[])

-- name: changes_of_put_back :one
select count(*) from put_back_changes($1::jsonb)

-- A put-back of tens of thousands of rows takes longer than a request's statement may.
-- name: allow_a_minute :exec
select set_config('statement_timeout', '60000', true)

-- name: put_back :one
-- (id, selection, seen, overwrite, scope, teams)
select answer(200, put_back($1::uuid, $2::jsonb, $3, $4::boolean, $5, $6::uuid[])::json)
