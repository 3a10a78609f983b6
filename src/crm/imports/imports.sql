-- Imports. Rights: (scope text, who uuid, teams uuid[]).

-- The same file by two people at one moment: the second one waits here and finds the first one's import.
-- name: lock_file :exec
select pg_advisory_xact_lock(hashtextextended($1::text || $2::text, 17))

-- name: media_source_known :one pipeline
select exists (select from media_source m where m.id = $1::uuid and m.deleted_at is null and m.active)

-- (media source, sha256, scope, who, teams): the newest import of the same file; the second column says whether the caller may see it.
-- name: find_by_file :optional pipeline
select import_json(j), within_scope($3::text, $4::uuid, $5::uuid[], j.owner_id, j.team_id), j.version
  from import_job j where j.media_source_id = $1::uuid and j.file_sha256 = $2::bytea
 order by j.created_at desc, j.id desc limit 1

-- name: create_import :optional
with added as (
  insert into import_job (id, file_name, file_sha256, media_source_id, encoding, delimiter, header, columns, preview, suggestion, rows_in, blank_lines, content, owner_id, team_id)
  select $1::uuid, $2::text, $3::bytea, $4::uuid, $5::text, $6::text, $7::boolean, $8::text[], $9::jsonb, $10::jsonb, $11::integer, $12::integer, $13::bytea, $14::uuid, $15::uuid
   where $16::boolean or not exists (select from import_job j where j.media_source_id = $4 and j.file_sha256 = $3)
  returning *)
select answer(201, import_json(added), version::text) as body, version::text as etag from added

-- name: get_import :optional pipeline
select import_json(j) as body, j.version from import_job j where j.id = $4::uuid and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)

-- (scope, who, teams, after id or null, limit): newest first.
-- name: list_imports :many
select import_json(j, false), j.id from import_job j
 where j.id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)
 order by j.id desc limit $5::integer

-- What start needs to check the mapping: columns, and the keys of the custom fields.
-- name: to_start :optional
select j.state, j.next_row, to_json(j.columns), j.suggestion, (select count(*) from unnest(j.columns)),
       coalesce((select json_agg(f.entity || ':' || f.key) from custom_field f where f.deleted_at is null), '[]')
  from import_job j where j.id = $4::uuid and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)

-- One that failed goes on with the mapping it began with.
-- name: start_import :optional
with started as (
  update import_job j
     set state = 'RUNNING', error = null, run_id = null, lease_expires_at = null, started_by = $2::uuid, started_at = now(), version = j.version + 1, updated_at = now(),
         mapping = case when j.next_row = 1 then $5::jsonb else j.mapping end,
         customer_initiated = case when j.next_row = 1 then $6::boolean else j.customer_initiated end
   where j.id = $4::uuid and j.state in ('UPLOADED', 'FAILED') and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)
  returning *)
select answer(202, import_json(started), version::text) as body, version::text as etag from started

-- (scope, who, teams, import, after row, limit)
-- name: list_rejects :many
select json_build_object('row_number', r.row_number, 'line', r.line, 'last_line', coalesce(r.last_line, r.line), 'code', r.code, 'detail', r.detail, 'fields', r.content::json), r.row_number
  from import_row r join import_job j on j.id = r.import_id
 where r.import_id = $4::uuid and r.result = 'REJECTED' and r.row_number > $5::integer and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)
 order by r.row_number limit $6::integer

-- name: import_head :optional pipeline
select j.file_name, to_json(j.columns) from import_job j where j.id = $4::uuid and within_scope($1::text, $2::uuid, $3::uuid[], j.owner_id, j.team_id)

-- A page of the download; who may see it was asked before.
-- name: rejects_page :many
select r.row_number, r.line, r.code, r.detail, r.content from import_row r
 where r.import_id = $1::uuid and r.result = 'REJECTED' and r.row_number > $2::integer order by r.row_number limit 500

-- The run ---------------------------------------------------------------------------------------------------------------

-- name: take_import :optional
update import_job j set run_id = $1::uuid, lease_expires_at = now() + $2::double precision * interval '1 second'
 where j.id = (select o.id from import_job o where o.state = 'RUNNING' and (o.lease_expires_at is null or o.lease_expires_at < now())
                order by o.started_at limit 1 for update skip locked)
returning j.id, j.media_source_id, j.mapping, j.encoding, j.delimiter, j.header, cardinality(j.columns), j.next_row, j.rows_in, j.owner_id, j.team_id,
          to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"'), j.customer_initiated, j.content is not null

-- name: content :one
select content from import_job where id = $1::uuid

-- What rows are checked against.
-- name: definitions :one
select coalesce((select json_agg(json_build_object('id', c.id, 'code', c.code, 'name_ja', c.name_ja, 'name_en', c.name_en) order by c.position, c.id)
                   from item_category c where c.deleted_at is null and c.active), '[]'),
       coalesce((select json_agg(json_build_object('entity', f.entity, 'key', f.key, 'kind', f.kind, 'choices', f.choices, 'required', f.required))
                   from custom_field f where f.deleted_at is null), '[]'),
       rule_value('business_time_zone') #>> '{}'

-- One chunk at a time in the whole database: two imports that bring the same person make one customer.
-- name: one_at_a_time :exec
select pg_advisory_xact_lock(1162760521, 100)

-- name: context :exec
select begin_write('user:' || $1::text, $2::text)

-- Who runs it, and where it goes on; the row stays locked, so a runner that lost its lease meanwhile waits and then sees that it did.
-- name: standing :optional
select run_id, next_row from import_job where id = $1::uuid and state = 'RUNNING' for update

-- (rows, time zone): when each lead was received, and on which day.
-- name: moments :many
select r.n, to_char(r.received_at::timestamptz at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"'), (r.received_at::timestamptz at time zone $2::text)::date
  from json_to_recordset($1::json) as r (n integer, received_at text) order by r.n

-- (rows, media source, time zone): customers with one of the row's phones and its name, and their lead of that day if there is one.
-- name: matches :many
select distinct on (r.n, c.id) r.n, c.id, i.id
  from json_to_recordset($1::json) as r (n integer, name_key text, e164s text[], received_at text)
 cross join lateral unnest(r.e164s) as e (e164)
  join customer_phone p on p.e164 = e.e164 and p.deleted_at is null
  join customer c on c.id = p.customer_id and c.deleted_at is null and c.name_key = r.name_key
  left join lateral (
    select x.id from inquiry x
     where x.customer_id = c.id and x.media_source_id = $2::uuid and x.deleted_at is null
       and x.received_at >= (r.received_at::timestamptz at time zone $3::text)::date::timestamp at time zone $3
       and x.received_at < ((r.received_at::timestamptz at time zone $3)::date + 1)::timestamp at time zone $3
     order by x.received_at, x.id limit 1) i on true
 order by r.n, c.id

-- name: seen_refs :many
select i.external_ref, i.id, i.customer_id from inquiry i where i.media_source_id = $1::uuid and i.external_ref = any ($2::text[])

-- name: towns :many
select t.postal_code, t.prefecture, t.city, t.town from postal_town t where t.postal_code = any ($1::text[]) order by t.postal_code, length(t.town) desc, t.prefecture, t.city

-- name: insert_customers :exec
insert into customer (id, display_name, kana, name_key, kana_key, birth_date, notes, custom, team_id)
select c.id, c.display_name, c.kana, c.name_key, c.kana_key, c.birth_date, c.notes, c.custom, $2::uuid
  from json_to_recordset($1::json) as c (id uuid, display_name text, kana text, name_key text, kana_key text, birth_date date, notes text, custom jsonb)

-- What is empty at a customer who was there already is filled; what is not stays.
-- name: fill_customers :exec
update customer c
   set kana = case when c.kana = '' then f.kana else c.kana end, kana_key = case when c.kana = '' then f.kana_key else c.kana_key end,
       birth_date = coalesce(c.birth_date, f.birth_date), notes = case when c.notes = '' then f.notes else c.notes end, custom = f.custom || c.custom
  from json_to_recordset($1::json) as f (id uuid, kana text, kana_key text, birth_date date, notes text, custom jsonb)
 where c.id = f.id and (c.kana = '' and f.kana <> '' or c.birth_date is null and f.birth_date is not null or c.notes = '' and f.notes <> '' or f.custom || c.custom <> c.custom)

-- name: insert_phones :exec
insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, position)
select p.id, p.customer_id, p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.position
  from json_to_recordset($1::json) as p (id uuid, customer_id uuid, raw text, e164 text, extension text, kind text, valid_hint boolean, position integer)

-- name: fill_phones :exec
insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, position)
select p.id, p.customer_id, p.raw, p.e164, p.extension, p.kind, p.valid_hint,
       p.position + (select coalesce(max(x.position), -1) + 1 from customer_phone x where x.customer_id = p.customer_id and x.deleted_at is null)
  from json_to_recordset($1::json) as p (id uuid, customer_id uuid, raw text, e164 text, extension text, kind text, valid_hint boolean, position integer)
 where not exists (select from customer_phone x where x.customer_id = p.customer_id and x.e164 = p.e164 and x.deleted_at is null)

-- name: insert_addresses :exec
insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building)
select a.id, a.customer_id, a.postal_code, a.prefecture, a.city, a.town, a.street, a.building
  from json_to_recordset($1::json) as a (id uuid, customer_id uuid, postal_code text, prefecture text, city text, town text, street text, building text)

-- name: fill_addresses :exec
insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building)
select a.id, a.customer_id, a.postal_code, a.prefecture, a.city, a.town, a.street, a.building
  from json_to_recordset($1::json) as a (id uuid, customer_id uuid, postal_code text, prefecture text, city text, town text, street text, building text)
 where not exists (select from customer_address x where x.customer_id = a.customer_id and x.deleted_at is null)

-- name: insert_emails :exec
insert into customer_email (id, customer_id, email, position)
select e.id, e.customer_id, e.email, e.position from json_to_recordset($1::json) as e (id uuid, customer_id uuid, email text, position integer)
 where not exists (select from customer_email x where x.customer_id = e.customer_id and lower(x.email) = lower(e.email) and x.deleted_at is null)

-- name: insert_inquiries :exec
insert into inquiry (id, customer_id, media_source_id, channel, customer_initiated, external_ref, received_at, next_action, next_action_at, notes, custom, team_id)
select i.id, i.customer_id, $2::uuid, 'FILE', $3::boolean, i.external_ref, i.received_at, 'CALL', first_call_due(), i.notes, i.custom, $4::uuid
  from json_to_recordset($1::json) as i (id uuid, customer_id uuid, external_ref text, received_at timestamptz, notes text, custom jsonb)

-- name: insert_items :exec
insert into inquiry_item (id, inquiry_id, item_category_id, description, position)
select t.id, t.inquiry_id, t.item_category_id, t.description, t.position
  from json_to_recordset($1::json) as t (id uuid, inquiry_id uuid, item_category_id uuid, description text, position integer)

-- Whom a ban covers gets a task that is BLOCKED: the table's trigger sees to it.
-- name: insert_first_calls :exec
insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, team_id)
select i.task_id, i.customer_id, i.id, 'FIRST_CALL', 'READY', p.priority, first_call_due(), $3::uuid
  from (select task_priority('FIRST_CALL', $2::uuid) as priority) p, json_to_recordset($1::json) as i (id uuid, customer_id uuid, task_id uuid)

-- name: insert_rows :exec
insert into import_row (import_id, row_number, line, last_line, result, code, detail, content, customer_id, inquiry_id)
select $2::uuid, r.row_number, r.line, r.last_line, r.result, r.code, r.detail, r.content, r.customer_id, r.inquiry_id
  from json_to_recordset($1::json) as r (row_number integer, line integer, last_line integer, result text, code text, detail text, content text, customer_id uuid, inquiry_id uuid)

-- (import, next row, lease seconds, created, updated, skipped, rejected)
-- name: advance :exec
update import_job set next_row = $2::integer, lease_expires_at = now() + $3::double precision * interval '1 second', updated_at = now(),
       created = created + $4::integer, updated = updated + $5::integer, skipped = skipped + $6::integer, rejected = rejected + $7::integer
 where id = $1::uuid

-- The file goes: every row is accounted for.
-- name: finish :exec
update import_job set state = 'DONE', content = null, preview = '[]', run_id = null, lease_expires_at = null, error = null, finished_at = now(), updated_at = now(), version = version + 1
 where id = $1::uuid and run_id = $2::uuid and state = 'RUNNING'

-- name: fail_import :exec
update import_job set state = 'FAILED', error = $3::text, run_id = null, lease_expires_at = null, updated_at = now(), version = version + 1
 where id = $1::uuid and run_id = $2::uuid and state = 'RUNNING'

-- Later, here or elsewhere: after so many seconds. The error says what it waits for.
-- name: give_back :exec
update import_job set run_id = null, lease_expires_at = now() + $3::double precision * interval '1 second', error = $4::text
 where id = $1::uuid and run_id = $2::uuid and state = 'RUNNING'
