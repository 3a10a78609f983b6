-- Statements of the inquiries slice. Rights: (scope text, who uuid, teams uuid[]). Every shape of a list is a statement of its own, and repeats
-- the literals of its partial index. A list's cursor is made of the sort keys: 20261122T040506.123456Z_<id>.

-- name: create_customer :exec
with person as (
  insert into customer (id, display_name, kana, name_key, kana_key, birth_date, notes, custom, owner_id, team_id)
  select c.id, c.display_name, coalesce(c.kana, ''), c.name_key, c.kana_key, c.birth_date, coalesce(c.notes, ''), coalesce(c.custom, '{}'), $5::uuid, $6::uuid
    from jsonb_to_record($1::jsonb) as c (id uuid, display_name text, kana text, name_key text, kana_key text, birth_date date, notes text, custom jsonb)
  returning id),
phones as (
  insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, position)
  select p.id, person.id, p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.position
    from person, jsonb_to_recordset($2::jsonb) as p (id uuid, raw text, e164 text, extension text, kind text, valid_hint boolean, position integer)),
addresses as (
  insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building, position)
  select a.id, person.id, a.postal_code, coalesce(a.prefecture, ''), coalesce(a.city, ''), coalesce(a.town, ''), coalesce(a.street, ''), coalesce(a.building, ''), a.position
    from person, jsonb_to_recordset($3::jsonb) as a (id uuid, postal_code text, prefecture text, city text, town text, street text, building text, position integer))
insert into customer_email (id, customer_id, email, position)
select e.id, person.id, e.email, e.position from person, jsonb_to_recordset($4::jsonb) as e (id uuid, email text, position integer)

-- name: insert_inquiry :exec
with added as (
  insert into inquiry (id, customer_id, media_source_id, channel, customer_initiated, external_ref, received_at, next_action, next_action_at, notes, custom, owner_id, team_id)
  select $1::uuid, c.id, $3::uuid, $4::text, $5::boolean, $6::text, coalesce($7::timestamptz, now()), 'CALL', first_call_due(coalesce($7, now())), coalesce($8::text, ''), coalesce($9::jsonb, '{}'), $10::uuid, $11::uuid
    from customer c where c.id = $2::uuid and c.deleted_at is null
  returning id)
insert into inquiry_item (id, inquiry_id, item_category_id, description, quantity, position)
select t.id, added.id, t.item_category_id, coalesce(t.description, ''), t.quantity, t.position
  from added, jsonb_to_recordset($12::jsonb) as t (id uuid, item_category_id uuid, description text, quantity integer, position integer)

-- The first call, ready at once and due by the rule's time. A statement of its own, after the inquiry has lifted the customer's own bans.
-- name: first_call :one
with task as (
  insert into call_task (id, customer_id, inquiry_id, kind, state, priority, due_at, owner_id, team_id)
  select $2::uuid, i.customer_id, i.id, 'FIRST_CALL', 'READY', task_priority('FIRST_CALL', i.media_source_id), i.next_action_at, i.owner_id, i.team_id
    from inquiry i where i.id = $1::uuid
  returning *),
made as (
  select json_build_object('inquiry', (select row_to_json(i) from inquiry i where i.id = $1), 'items', coalesce((select json_agg(t order by t.position) from inquiry_item t where t.inquiry_id = $1), '[]'),
                           'call_task', row_to_json(task)) as body from task)
select answer(201, body, '1') as body, '1' as etag from made

-- What a repeated lead gets: the one that is stored, if the caller may see it.
-- name: by_external_ref :optional pipeline
select json_build_object('inquiry', row_to_json(i), 'items', coalesce((select json_agg(t order by t.position) from inquiry_item t where t.inquiry_id = i.id and t.deleted_at is null), '[]'),
         'call_task', (select row_to_json(k) from call_task k where k.inquiry_id = i.id order by k.created_at, k.id limit 1)) as body, i.version::text as etag
  from inquiry i
 where i.media_source_id = $4::uuid and i.external_ref = $5::text and within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)

-- Who has one of these numbers and this name already: the rule of imports. Two of them are as good as none.
-- name: known_people :many pipeline
select c.id from customer c
 where c.deleted_at is null and c.name_key = $1::text
   and c.id in (select p.customer_id from customer_phone p where p.e164 = any ($2::text[]) and p.deleted_at is null) limit 2

-- name: media_source_by_code :optional pipeline
select id from media_source where code = $1::text and deleted_at is null and active

-- name: get_inquiry :optional pipeline
select json_build_object('inquiry', row_to_json(i),
         'customer', (select json_build_object('id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'flags', c.flags) from customer c where c.id = i.customer_id),
         'items', coalesce((select json_agg(t order by t.position, t.id) from inquiry_item t where t.inquiry_id = i.id and t.deleted_at is null), '[]'),
         'open_tasks', coalesce((select json_agg(k order by k.due_at) from call_task k where k.inquiry_id = i.id and k.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED')), '[]'),
         'allowed_transitions', coalesce((select json_agg(x.to_state order by x.to_state) from transition x where x.entity = 'inquiry' and x.from_state = i.stage), '[]')) as body,
       i.version::text as etag
  from inquiry i
 where i.id = $4::uuid and i.deleted_at is null
   and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
        or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))

-- Why a write touched nothing: nothing to see, or an older version, or a state.
-- name: look_at_inquiry :optional pipeline
select i.version, i.stage from inquiry i
 where i.id = $4::uuid and i.deleted_at is null
   and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
        or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))

-- Changes are a JSON object; a member that is absent leaves the column alone. A call that they promise gets its task.
-- name: update_inquiry :optional
with changed as (
  update inquiry i
     set next_action = case when $6::jsonb ? 'next_action' then $6 ->> 'next_action' else i.next_action end,
         next_action_at = case when $6 ? 'next_action_at' then ($6 ->> 'next_action_at')::timestamptz else i.next_action_at end,
         notes = case when $6 ? 'notes' then $6 ->> 'notes' else i.notes end,
         custom = case when $6 ? 'custom' then $6 -> 'custom' else i.custom end,
         owner_id = case when $6 ? 'owner_id' then ($6 ->> 'owner_id')::uuid else i.owner_id end,
         team_id = case when $6 ? 'team_id' then ($6 ->> 'team_id')::uuid else i.team_id end
   where i.id = $4::uuid and i.version = $5::integer and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
  returning i.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag
  from changed left join lateral promise_call(changed.id, $6 ?| array['next_action', 'next_action_at']) p on true

-- A stage without next action keeps the one it had; an action that waits for a moment, or promises one, comes with it.
-- name: transition_inquiry :optional
with changed as (
  update inquiry i
     set stage = $6::text, lost_reason = case when $6 = 'LOST' then $7::text else i.lost_reason end,
         invalid_reason = case when $6 = 'INVALID' then $7 else i.invalid_reason end,
         next_action = case when $6 in ('LOST', 'INVALID', 'CONTRACTED', 'NO_DEAL') then 'NONE' else coalesce($8::text, i.next_action) end,
         next_action_at = case when $6 in ('LOST', 'INVALID', 'CONTRACTED', 'NO_DEAL') then null when $8 in ('CALLBACK', 'NURTURE_CALL', 'WAIT') then $9::timestamptz
                               else coalesce($9, i.next_action_at) end
   where i.id = $4::uuid and ($5::integer is null or i.version = $5) and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
  returning i.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag
  from changed left join lateral promise_call(changed.id, coalesce($8, $9::text) is not null) p on true

-- name: create_item :optional
with added as (
  insert into inquiry_item (id, inquiry_id, item_category_id, description, quantity, position)
  select $5::uuid, i.id, $6::uuid, coalesce($7::text, ''), $8::integer, coalesce($9::integer, 0)
    from inquiry i where i.id = $4::uuid and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
  returning *)
select answer(201, row_to_json(added), version::text) as body, version::text as etag from added

-- name: update_item :optional
with changed as (
  update inquiry_item t
     set item_category_id = case when $6::jsonb ? 'item_category_id' then ($6 ->> 'item_category_id')::uuid else t.item_category_id end,
         description = case when $6 ? 'description' then $6 ->> 'description' else t.description end,
         quantity = case when $6 ? 'quantity' then ($6 ->> 'quantity')::integer else t.quantity end,
         position = case when $6 ? 'position' then ($6 ->> 'position')::integer else t.position end
    from inquiry i
   where t.id = $4::uuid and t.version = $5::integer and t.deleted_at is null and i.id = t.inquiry_id and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
  returning t.*)
select answer(200, row_to_json(changed), version::text) as body, version::text as etag from changed

-- name: delete_item :optional
with changed as (
  update inquiry_item t set deleted_at = now()
    from inquiry i
   where t.id = $4::uuid and t.deleted_at is null and i.id = t.inquiry_id and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
  returning t.id, t.version)
select answer(200, json_build_object('id', id, 'deleted', true), version::text) as body, version::text as etag from changed

-- name: look_at_item :optional pipeline
select t.version from inquiry_item t join inquiry i on i.id = t.inquiry_id
 where t.id = $4::uuid and t.deleted_at is null and i.deleted_at is null
   and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
        or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))

-- A sheet that nobody has written yet is empty, in version 0.
-- name: get_hearing_sheet :optional pipeline
select json_build_object('inquiry_id', i.id, 'customer_id', i.customer_id, 'answers', coalesce(h.answers, '{}'), 'field_versions', coalesce(h.field_versions, '{}'),
         'version', coalesce(h.version, 0), 'updated_at', h.updated_at,
         'conflicts', coalesce((select json_agg(json_build_object('id', x.id, 'field', x.field, 'kept', x.kept, 'refused', x.refused, 'author_id', x.author_id, 'at', x.created_at) order by x.created_at desc)
                                  from (select * from hearing_sheet_conflict y where y.inquiry_id = i.id order by y.created_at desc limit 20) x), '[]')) as body,
       coalesce(h.version, 0)::text as etag
  from inquiry i left join hearing_sheet h on h.inquiry_id = i.id
 where i.id = $4::uuid and i.deleted_at is null
   and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
        or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))

-- name: begin_hearing_sheet :exec
insert into hearing_sheet (inquiry_id, customer_id)
select i.id, i.customer_id from inquiry i
 where i.id = $4::uuid and i.deleted_at is null
   and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
        or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
   and not exists (select from hearing_sheet h where h.inquiry_id = i.id)
on conflict (inquiry_id) do nothing

-- Merges by field. A field that somebody changed to something else since base_version keeps their value; the value that came late is stored
-- in hearing_sheet_conflict and given back beside theirs. The other fields are saved. Nothing is lost either way.
-- name: save_hearing_sheet :optional
with sheet as (
  select h.inquiry_id, h.customer_id, h.answers, h.field_versions, h.version
    from hearing_sheet h join inquiry i on i.id = h.inquiry_id
   where h.inquiry_id = $4::uuid and i.deleted_at is null
     and (within_scope($1::text, $2::uuid, $3::uuid[], i.owner_id, i.team_id)
          or exists (select from call_task k where k.assigned_to = $2 and k.state in ('ASSIGNED', 'IN_CALL', 'WRAP_UP') and k.inquiry_id = i.id))
   for update of h),
change as (
  select c.key, c.value, coalesce(sheet.answers -> c.key, 'null') as theirs, (sheet.field_versions ->> c.key)::integer as their_version,
         coalesce((sheet.field_versions ->> c.key)::integer, 0) > $5::integer and coalesce(sheet.answers -> c.key, 'null') <> c.value as conflicts,
         coalesce(sheet.answers -> c.key, 'null') <> c.value as differs
    from sheet, jsonb_each($6::jsonb) c),
saved as (
  update hearing_sheet h
     set answers = jsonb_strip_nulls(sheet.answers || (select jsonb_object_agg(c.key, c.value) from change c where c.differs and not c.conflicts)),
         field_versions = sheet.field_versions || (select jsonb_object_agg(c.key, sheet.version + 1) from change c where c.differs and not c.conflicts)
    from sheet where h.inquiry_id = sheet.inquiry_id and exists (select from change c where c.differs and not c.conflicts)
  returning h.version, h.answers),
kept as (
  insert into hearing_sheet_conflict (inquiry_id, customer_id, field, base_version, kept, refused, author_id)
  select sheet.inquiry_id, sheet.customer_id, c.key, $5, c.theirs, c.value, $2 from sheet, change c where c.conflicts
  returning id, field)
select answer(200, json_build_object('inquiry_id', sheet.inquiry_id, 'version', coalesce(saved.version, sheet.version), 'answers', coalesce(saved.answers, sheet.answers),
         'saved', coalesce((select json_agg(c.key order by c.key) from change c where not c.conflicts), '[]'),
         'conflicts', coalesce((select json_agg(json_build_object('code', 'HEARING_SHEET_CONFLICT', 'field', c.key, 'theirs', c.theirs, 'mine', c.value, 'their_version', c.their_version, 'conflict_id', kept.id) order by c.key)
                                  from change c join kept on kept.field = c.key), '[]')),
         coalesce(saved.version, sheet.version)::text) as body, coalesce(saved.version, sheet.version)::text as etag
  from sheet left join saved on true

-- Lists. Each shape of filter is a statement of its own, for one with optional filters gets no plan that is good for all. Parameters of every
-- shape: limit, the cursor's moment and id, stage or null, media source or null, then its own.
-- piece: item
i.id, i.customer_id, i.media_source_id, i.channel, i.received_at, i.stage, i.next_action, i.next_action_at, i.owner_id, i.team_id, i.version

-- What is due, soonest first.
-- piece: due
i.stage in ('NEW', 'IN_PROGRESS', 'NURTURING') and i.next_action_at is not null and i.deleted_at is null
  and (i.next_action_at, i.id) > (coalesce($2::timestamptz, '-infinity'), coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'))
-- piece: due_page
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $1::integer then to_char((array_agg(p.next_action_at))[$1] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$1]::text end) as body
  from (select p.*, c.display_name as customer_display_name, c.kana as customer_kana, c.flags as customer_flags
          from (
-- piece: due_end
       ) p join customer c on c.id = p.customer_id
         order by p.next_action_at, p.id) p

-- name: due_all :one pipeline
{{due_page}}
    select {{item}} from inquiry i
     where {{due}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
     order by i.next_action_at, i.id limit $1
{{due_end}}

-- name: due_media :one pipeline
{{due_page}}
    select {{item}} from inquiry i
     where i.media_source_id = $5::uuid and {{due}} and ($4::text is null or i.stage = $4)
     order by i.next_action_at, i.id limit $1
{{due_end}}

-- Of one owner; of the caller's teams only, unless that is null.
-- name: due_owner :one pipeline
{{due_page}}
    select {{item}} from inquiry i
     where i.owner_id = $6::uuid and {{due}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
       and ($7::uuid[] is null or i.team_id = any ($7))
     order by i.next_action_at, i.id limit $1
{{due_end}}

-- name: due_teams :one pipeline
{{due_page}}
    select x.* from unnest($6::uuid[]) as mine(team) cross join lateral (
      select {{item}} from inquiry i
       where i.team_id = mine.team and {{due}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
       order by i.next_action_at, i.id limit $1) x
     order by x.next_action_at, x.id limit $1
{{due_end}}

-- What came in, latest first.
-- piece: received
i.deleted_at is null
  and (i.received_at, i.id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
-- piece: received_page
select json_build_object('items', coalesce(json_agg(row_to_json(p)), '[]'), 'next_cursor',
         case when count(*) = $1::integer then to_char((array_agg(p.received_at))[$1] at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.US"Z"') || '_' || (array_agg(p.id))[$1]::text end) as body
  from (select p.*, c.display_name as customer_display_name, c.kana as customer_kana, c.flags as customer_flags
          from (
-- piece: received_end
       ) p join customer c on c.id = p.customer_id
         order by p.received_at desc, p.id desc) p

-- name: received_all :one pipeline
{{received_page}}
    select {{item}} from inquiry i
     where {{received}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
     order by i.received_at desc, i.id desc limit $1
{{received_end}}

-- name: received_media :one pipeline
{{received_page}}
    select {{item}} from inquiry i
     where i.media_source_id = $5::uuid and {{received}} and ($4::text is null or i.stage = $4)
     order by i.received_at desc, i.id desc limit $1
{{received_end}}

-- Of one owner; of the caller's teams only, unless that is null.
-- name: received_owner :one pipeline
{{received_page}}
    select {{item}} from inquiry i
     where i.owner_id = $6::uuid and {{received}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
       and ($7::uuid[] is null or i.team_id = any ($7))
     order by i.received_at desc, i.id desc limit $1
{{received_end}}

-- name: received_teams :one pipeline
{{received_page}}
    select x.* from unnest($6::uuid[]) as mine(team) cross join lateral (
      select {{item}} from inquiry i
       where i.team_id = mine.team and {{received}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
       order by i.received_at desc, i.id desc limit $1) x
     order by x.received_at desc, x.id desc limit $1
{{received_end}}

-- name: received_stage :one pipeline
{{received_page}}
    select {{item}} from inquiry i
     where i.stage = $4::text and {{received}} and ($5::uuid is null or i.media_source_id = $5)
     order by i.received_at desc, i.id desc limit $1
{{received_end}}

-- One customer's, latest first: (limit, moment, id, stage, media source, customer, scope, who, teams).
-- name: of_customer :one pipeline
{{received_page}}
    select {{item}} from inquiry i
     where i.customer_id = $6::uuid and {{received}} and ($4::text is null or i.stage = $4) and ($5::uuid is null or i.media_source_id = $5)
       and within_scope($7::text, $8::uuid, $9::uuid[], i.owner_id, i.team_id)
     order by i.received_at desc, i.id desc limit $1
{{received_end}}
