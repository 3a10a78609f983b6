-- Customers with their phones, addresses and emails. Rights by record are (scope, user, teams) of every statement; an appraiser's own
-- customers are also those they visit. Lists have a statement a filter: each row is (item, keys of the row …) for the next page.

-- name: screen_pop :one pipeline
-- The hot read: everybody with this number, at most 20, each with what an operator must see before answering. A few index probes a customer; who
-- worked on it is in the timeline by id only, for each name is another probe.
select json_build_object('phone', $1::text, 'items', coalesce(array_to_json((array_agg(s.item))[1:20]), '[]'), 'truncated', count(*) > 20), (array_agg(s.id))[1:20]
  from (
    select c.id, json_build_object(
      'id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'notes', c.notes, 'flags', c.flags,
      'owner_id', c.owner_id, 'team_id', c.team_id, 'version', c.version,
      'phones', (select json_agg(json_build_object('id', p.id, 'raw', p.raw, 'e164', p.e164, 'extension', p.extension, 'kind', p.kind, 'note', p.note)
                        order by p.position, p.id) from customer_phone p where p.customer_id = c.id and p.deleted_at is null),
      'active_ban', (select to_json(b) from covering_ban(c.id) b),
      'timeline', (select coalesce(json_agg(t), '[]') 
                     from customer_timeline(c.id, 20, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff') t)) as item
      from (select distinct p.customer_id from customer_phone p where p.e164 = $1 and p.deleted_at is null limit 21) found
      join customer c on c.id = found.customer_id and c.deleted_at is null
       and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))) s

-- name: get_customer :optional pipeline
-- The whole customer (id, scope, user, teams): the card beside a call.
select json_build_object(
         'id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'notes', c.notes, 'flags', c.flags, 'custom', c.custom,
         'owner_id', c.owner_id, 'team_id', c.team_id, 'version', c.version, 'created_at', c.created_at, 'updated_at', c.updated_at,
         'phones', (select coalesce(json_agg(json_build_object('id', p.id, 'customer_id', p.customer_id, 'raw', p.raw, 'e164', p.e164, 'extension', p.extension,
                      'kind', p.kind, 'valid_hint', p.valid_hint, 'note', p.note, 'position', p.position, 'version', p.version) order by p.position, p.id), '[]')
                      from customer_phone p where p.customer_id = c.id and p.deleted_at is null),
         'addresses', (select coalesce(json_agg(json_build_object('id', a.id, 'customer_id', a.customer_id, 'postal_code', a.postal_code, 'prefecture', a.prefecture,
                      'city', a.city, 'town', a.town, 'street', a.street, 'building', a.building, 'note', a.note, 'position', a.position, 'version', a.version)
                      order by a.position, a.id), '[]') from customer_address a where a.customer_id = c.id and a.deleted_at is null),
         'emails', (select coalesce(json_agg(json_build_object('id', e.id, 'customer_id', e.customer_id, 'email', e.email, 'position', e.position, 'version', e.version)
                      order by e.position, e.id), '[]') from customer_email e where e.customer_id = c.id and e.deleted_at is null),
         'active_ban', (select to_json(b) from covering_ban(c.id) b),
         'inquiries', (select coalesce(json_agg(json_build_object('id', i.id, 'stage', i.stage, 'channel', i.channel, 'media_source_id', i.media_source_id,
                      'received_at', i.received_at, 'next_action', i.next_action, 'next_action_at', i.next_action_at, 'notes', i.notes, 'owner_id', i.owner_id,
                      'team_id', i.team_id, 'version', i.version,
                      'items', (select coalesce(json_agg(json_build_object('id', n.id, 'item_category_id', n.item_category_id, 'description', n.description,
                                  'quantity', n.quantity, 'version', n.version) order by n.position, n.id), '[]')
                                  from inquiry_item n where n.inquiry_id = i.id and n.deleted_at is null)) order by i.received_at desc, i.id desc), '[]')
                      from (select x.* from inquiry x where x.customer_id = c.id and x.deleted_at is null
                               and x.stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED') order by x.received_at desc, x.id desc limit 20) i),
         'tasks', (select coalesce(json_agg(json_build_object('id', k.id, 'kind', k.kind, 'state', k.state, 'priority', k.priority, 'due_at', k.due_at, 'note', k.note,
                      'inquiry_id', k.inquiry_id, 'assigned_to', k.assigned_to, 'owner_id', k.owner_id, 'team_id', k.team_id, 'blocked_reason', k.blocked_reason,
                      'version', k.version) order by k.due_at, k.id), '[]')
                      from (select x.* from call_task x where x.customer_id = c.id and x.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED')
                             order by x.due_at desc limit 20) k),
         'appointments', (select coalesce(json_agg(json_build_object('id', v.id, 'state', v.state, 'starts_at', v.starts_at, 'ends_at', v.ends_at,
                      'inquiry_id', v.inquiry_id, 'slot_id', v.slot_id, 'appraiser_id', v.appraiser_id, 'address_id', v.address_id,
                      'hold_expires_at', v.hold_expires_at, 'version', v.version) order by v.starts_at, v.id), '[]')
                      from (select x.* from appointment x where x.customer_id = c.id and x.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')
                             order by x.starts_at desc limit 20) v),
         'timeline', (select coalesce(json_agg(json_build_object('kind', t.kind, 'id', t.id, 'at', t.at, 'state', t.state, 'detail', t.detail,
                      'user_id', t.user_id, 'user_name', (select u.display_name from app_user u where u.id = t.user_id), 'appraiser_id', t.appraiser_id,
                      'media_source_id', t.media_source_id, 'inquiry_id', t.inquiry_id, 'ended_at', t.ended_at, 'body', t.body)), '[]')
                     from customer_timeline(c.id, 20, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff') t)),
       c.version
  from customer c
 where c.id = $1 and c.deleted_at is null
   and ($2::text = 'all' or $2 = 'team' and c.team_id = any ($4::uuid[])
        or $2 = 'own' and (c.owner_id = $3::uuid or exists (select from appointment v join appraiser w on w.id = v.appraiser_id where v.customer_id = c.id and w.user_id = $3)))

-- name: get_customer_as_of :optional
-- (id, moment, user): the customer with what belongs to them as history has it. A right of its own, read here: the route is get_customer's.
with granted as (
  select coalesce(bool_or(rp.scope = 'all'), false) as everything, coalesce(bool_or(rp.scope = 'team'), false) as team
    from user_role ur join role_permission rp on rp.role = ur.role and rp.operation = 'get_record_as_of' where ur.user_id = $3::uuid),
known as (
  select distinct on (h.row_id) h.table_name, h.row_id, h.op, h.content, h.at
    from history h
   where h.customer_id = $1::uuid and h.at <= $2::timestamptz
     and h.table_name in ('customer', 'customer_phone', 'customer_address', 'customer_email', 'inquiry', 'call_task', 'appointment', 'solicitation_ban', 'call_attempt')
   order by h.row_id, h.at desc, h.id desc),
alive as (select k.table_name, k.content from known k where k.op <> 'DELETE' and k.content is not null and k.content ->> 'deleted_at' is null)
select k.content is null, (jsonb_build_object(
         'as_of', $2::timestamptz, 'deleted_at', k.content -> 'deleted_at',
         'phones', (select coalesce(jsonb_agg(a.content order by (a.content ->> 'position')::integer, a.content ->> 'id'), '[]') from alive a where a.table_name = 'customer_phone'),
         'addresses', (select coalesce(jsonb_agg(a.content order by (a.content ->> 'position')::integer, a.content ->> 'id'), '[]') from alive a where a.table_name = 'customer_address'),
         'emails', (select coalesce(jsonb_agg(a.content order by (a.content ->> 'position')::integer, a.content ->> 'id'), '[]') from alive a where a.table_name = 'customer_email'),
         'active_ban', (select a.content from alive a where a.table_name = 'solicitation_ban' and a.content ->> 'lifted_at' is null order by a.content ->> 'banned_at' desc limit 1),
         'inquiries', (select coalesce(jsonb_agg(a.content order by a.content ->> 'received_at' desc), '[]') from alive a
                        where a.table_name = 'inquiry' and a.content ->> 'stage' in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED')),
         'tasks', (select coalesce(jsonb_agg(a.content order by a.content ->> 'due_at'), '[]') from alive a
                    where a.table_name = 'call_task' and a.content ->> 'state' in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP', 'BLOCKED')),
         'appointments', (select coalesce(jsonb_agg(a.content order by a.content ->> 'starts_at'), '[]') from alive a
                           where a.table_name = 'appointment' and a.content ->> 'state' in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')))
       || (k.content - array['name_key', 'kana_key']))::text
  from known k, granted g
 where k.row_id = $1 and k.op <> 'DELETE'
   and (g.everything or g.team and exists (select from customer c join app_user u on u.id = $3 where c.id = $1 and c.team_id = any (team_subtree(u.team_id))))

-- name: may_read_as_of :one
select exists (select from user_role ur join role_permission rp on rp.role = ur.role and rp.operation = 'get_record_as_of' where ur.user_id = $1::uuid)

-- name: list_timeline :many
-- (customer, scope, user, teams, before, before_id, limit)
select json_build_object('kind', t.kind, 'id', t.id, 'at', t.at, 'state', t.state, 'detail', t.detail, 'user_id', t.user_id,
         'user_name', (select u.display_name from app_user u where u.id = t.user_id), 'appraiser_id', t.appraiser_id,
         'media_source_id', t.media_source_id, 'inquiry_id', t.inquiry_id, 'ended_at', t.ended_at, 'body', t.body), t.at, t.id
  from customer c cross join lateral customer_timeline(c.id, $7::integer, $5::timestamptz, $6::uuid) t
 where c.id = $1 and c.deleted_at is null
   and ($2::text = 'all' or $2 = 'team' and c.team_id = any ($4::uuid[])
        or $2 = 'own' and (c.owner_id = $3::uuid or exists (select from appointment v join appraiser w on w.id = v.appraiser_id where v.customer_id = c.id and w.user_id = $3)))

-- name: sees_customer :one
-- Whether there is such a customer for the caller.
select exists (select from customer c where c.id = $1 and c.deleted_at is null
   and ($2::text = 'all' or $2 = 'team' and c.team_id = any ($4::uuid[])
        or $2 = 'own' and (c.owner_id = $3::uuid or exists (select from appointment v join appraiser w on w.id = v.appraiser_id where v.customer_id = c.id and w.user_id = $3))))

-- A customer of a list.
-- piece: item
json_build_object('id', c.id, 'display_name', c.display_name, 'kana', c.kana, 'birth_date', c.birth_date, 'flags', c.flags, 'owner_id', c.owner_id,
         'team_id', c.team_id, 'version', c.version,
         'phones', (select coalesce(json_agg(coalesce(p.e164, p.raw) order by p.position, p.id), '[]') from customer_phone p where p.customer_id = c.id and p.deleted_at is null))

-- name: list_recent :many
-- (scope, user, teams, after id or null, limit): newest first.
select {{item}}, c.id
  from customer c
 where c.deleted_at is null and c.id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
   and ($1::text = 'all' or $1 = 'own' and c.owner_id = $2::uuid or $1 = 'team' and c.team_id = any ($3::uuid[]))
 order by c.id desc limit $5::integer

-- name: list_by_phone :many
-- (scope, user, teams, after id or null, limit, E.164)
select {{item}}, c.id
  from customer c
 where c.id in (select p.customer_id from customer_phone p where p.e164 = $6 and p.deleted_at is null)
   and c.deleted_at is null and c.id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
   and ($1::text = 'all' or $1 = 'own' and c.owner_id = $2::uuid or $1 = 'team' and c.team_id = any ($3::uuid[]))
 order by c.id limit $5::integer

-- name: list_by_phone_suffix :many
-- (scope, user, teams, after reversed number, after phone id, limit, reversed suffix): in the order of the reversed numbers; who has several
-- that fit comes once, with the first of them.
-- The first page starts after (suffix, nil).
select {{item}},
       reverse(f.e164), f.id
  from customer_phone f join customer c on c.id = f.customer_id and c.deleted_at is null
 where f.deleted_at is null
   and (reverse(f.e164) collate "C", f.id) > ($4::text collate "C", $5::uuid)
   and reverse(f.e164) collate "C" >= $7::text collate "C" and reverse(f.e164) collate "C" < ($7::text || ':') collate "C"
   and ($1::text = 'all' or $1 = 'own' and c.owner_id = $2::uuid or $1 = 'team' and c.team_id = any ($3::uuid[]))
   and not exists (select from customer_phone g where g.customer_id = f.customer_id and g.deleted_at is null
                      and reverse(g.e164) collate "C" >= $7::text collate "C" and reverse(g.e164) collate "C" < ($7::text || ':') collate "C"
                      and (reverse(g.e164) collate "C", g.id) < (reverse(f.e164) collate "C", f.id))
 order by reverse(f.e164) collate "C", f.id limit $6::integer

-- name: list_by_name :many
-- (scope, user, teams, after key, after id, limit, prefix): by the key of the name or of the kana; who has both comes once, by the name. The first page
-- starts after (prefix, nil), for that is where PostgreSQL starts to read; `>= prefix` is there for its estimate.
select {{item}},
       c.key, c.id
  from (
    (select x.id, x.display_name, x.kana, x.birth_date, x.flags, x.owner_id, x.team_id, x.version, x.name_key collate "C" as key
       from customer x
      where x.deleted_at is null and x.name_key collate "C" >= $7::text collate "C" and x.name_key collate "C" < ($7::text || U&'\+10FFFF') collate "C"
        and (x.name_key collate "C", x.id) > ($4::text collate "C", $5::uuid)
        and ($1::text = 'all' or $1 = 'own' and x.owner_id = $2::uuid or $1 = 'team' and x.team_id = any ($3::uuid[]))
      order by x.name_key collate "C", x.id limit $6::integer)
    union all
    (select x.id, x.display_name, x.kana, x.birth_date, x.flags, x.owner_id, x.team_id, x.version, x.kana_key collate "C"
       from customer x
      where x.deleted_at is null and x.kana_key collate "C" >= $7::text collate "C" and x.kana_key collate "C" < ($7::text || U&'\+10FFFF') collate "C"
        and (x.kana_key collate "C", x.id) > ($4::text collate "C", $5::uuid)
        and not (x.name_key collate "C" >= $7::text collate "C" and x.name_key collate "C" < ($7::text || U&'\+10FFFF') collate "C")
        and ($1::text = 'all' or $1 = 'own' and x.owner_id = $2::uuid or $1 = 'team' and x.team_id = any ($3::uuid[]))
      order by x.kana_key collate "C", x.id limit $6::integer)
    order by key, id limit $6::integer) c

-- name: list_by_email :many
-- (scope, user, teams, after id or null, limit, email)
select {{item}}, c.id
  from customer c
 where c.id in (select e.customer_id from customer_email e where lower(e.email) = lower($6::text) and e.deleted_at is null)
   and c.deleted_at is null and c.id > coalesce($4::uuid, '00000000-0000-0000-0000-000000000000')
   and ($1::text = 'all' or $1 = 'own' and c.owner_id = $2::uuid or $1 = 'team' and c.team_id = any ($3::uuid[]))
 order by c.id limit $5::integer

-- name: create_customer :one
-- A customer with their children. $12 phones, $13 addresses, $14 emails: JSON arrays, normalised, with ids.
with made as (
  insert into customer (id, display_name, kana, name_key, kana_key, birth_date, notes, flags, custom, owner_id, team_id)
  values ($1, $2, $3, $4, $5, $6, $7, $8::text[], $9::jsonb, $10, $11)
  returning id, display_name, kana, birth_date, notes, flags, custom, owner_id, team_id, version, created_at, updated_at),
phones as (
  insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, note, position)
  select p.id, m.id, p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.note, p.position
    from made m, jsonb_to_recordset($12::jsonb) as p (id uuid, raw text, e164 text, extension text, kind text, valid_hint boolean, note text, position integer)
  returning id, customer_id, raw, e164, extension, kind, valid_hint, note, position, version),
addresses as (
  insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building, note, position)
  select a.id, m.id, a.postal_code, a.prefecture, a.city, a.town, a.street, a.building, a.note, a.position
    from made m, jsonb_to_recordset($13::jsonb) as a (id uuid, postal_code text, prefecture text, city text, town text, street text, building text, note text, position integer)
  returning id, customer_id, postal_code, prefecture, city, town, street, building, note, position, version),
emails as (
  insert into customer_email (id, customer_id, email, position)
  select e.id, m.id, e.email, e.position from made m, jsonb_to_recordset($14::jsonb) as e (id uuid, email text, position integer)
  returning id, customer_id, email, position, version)
select answer(201, json_build_object(
         'id', m.id, 'display_name', m.display_name, 'kana', m.kana, 'birth_date', m.birth_date, 'notes', m.notes, 'flags', m.flags, 'custom', m.custom,
         'owner_id', m.owner_id, 'team_id', m.team_id, 'version', m.version, 'created_at', m.created_at, 'updated_at', m.updated_at,
         'phones', (select coalesce(json_agg(p order by p.position, p.id), '[]') from phones p),
         'addresses', (select coalesce(json_agg(a order by a.position, a.id), '[]') from addresses a),
         'emails', (select coalesce(json_agg(e order by e.position, e.id), '[]') from emails e)), m.version::text) as body, m.version::text as etag
  from made m

-- name: update_customer :optional
-- (id, version, scope, user, teams, display_name, name_key, kana, kana_key, birth_date?, birth_date, notes, flags, custom, owner?, owner, team?, team); null keeps
-- what is there. `custom` is merged; a null in it takes a field away.
with done as (
  update customer c set
    display_name = coalesce($6, display_name), name_key = coalesce($7, name_key), kana = coalesce($8, kana), kana_key = coalesce($9, kana_key),
    birth_date = case when $10::boolean then $11::date else birth_date end, notes = coalesce($12, notes), flags = coalesce($13::text[], flags),
    custom = case when $14::jsonb is null then custom else jsonb_strip_nulls(custom || $14::jsonb) end,
    owner_id = case when $15::boolean then $16::uuid else owner_id end, team_id = case when $17::boolean then $18::uuid else team_id end
  where c.id = $1 and c.version = $2::integer and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning c.id, c.display_name, c.kana, c.birth_date, c.notes, c.flags, c.custom, c.owner_id, c.team_id, c.version, c.created_at, c.updated_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- First step of hiding somebody: whoever begins something with them at this moment comes before or after.
-- name: lock_to_hide :exec
select lock_to_hide($1::uuid)

-- name: hide_customer :optional
-- Hiding somebody who is to be called or visited would lose the work: that comes first.
with done as (
  update customer c set deleted_at = now()
  where c.id = $1 and c.version = $2::integer and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
    and not exists (select from call_task k where k.customer_id = c.id and k.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP'))
    and not exists (select from appointment v where v.customer_id = c.id and v.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED'))
    and not exists (select from open_call o join call_attempt a on a.id = o.call_attempt_id where a.customer_id = c.id)
  returning c.id, c.version, c.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: why_not_customer :optional
-- (id, scope, user, teams): version, open work. No row: there is none for the caller.
select c.version, exists (select from call_task k where k.customer_id = c.id and k.state in ('SCHEDULED', 'READY', 'ASSIGNED', 'IN_CALL', 'WRAP_UP'))
       or exists (select from appointment v where v.customer_id = c.id and v.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED'))
       or exists (select from open_call o join call_attempt a on a.id = o.call_attempt_id where a.customer_id = c.id)
  from customer c
 where c.id = $1 and c.deleted_at is null and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))

-- name: create_customer_phones :optional
-- (customer, scope, user, teams, phones): one cell may hold several numbers.
with owner as (
  select c.id, (select coalesce(max(x.position) + 1, 0) from customer_phone x where x.customer_id = c.id and x.deleted_at is null) as next
    from customer c where c.id = $1 and c.deleted_at is null
     and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))),
made as (
  insert into customer_phone (id, customer_id, raw, e164, extension, kind, valid_hint, note, position)
  select p.id, o.id, p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.note, o.next + p.position
    from owner o, jsonb_to_recordset($5::jsonb) as p (id uuid, raw text, e164 text, extension text, kind text, valid_hint boolean, note text, position integer)
  returning id, customer_id, raw, e164, extension, kind, valid_hint, note, position, version)
select answer(201, json_build_object('items', json_agg(m order by m.position))) as body, null as etag from made m having count(*) > 0

-- name: update_customer_phone :optional
-- (id, version, scope, user, teams, raw, e164, extension, kind, valid_hint, note, position): a new raw brings its own number.
with done as (
  update customer_phone p set
    raw = coalesce($6, p.raw), e164 = case when $6 is null then p.e164 else $7 end, extension = case when $6 is null then p.extension else $8 end,
    kind = coalesce($9, p.kind), valid_hint = coalesce($10::boolean, p.valid_hint), note = coalesce($11, p.note), position = coalesce($12::integer, p.position)
  from customer c
  where p.id = $1 and p.version = $2::integer and p.deleted_at is null and c.id = p.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning p.id, p.customer_id, p.raw, p.e164, p.extension, p.kind, p.valid_hint, p.note, p.position, p.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_customer_phone :optional
with done as (
  update customer_phone p set deleted_at = now() from customer c
  where p.id = $1 and p.version = $2::integer and p.deleted_at is null and c.id = p.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning p.id, p.version, p.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: why_not_customer_phone :optional
select p.version from customer_phone p join customer c on c.id = p.customer_id and c.deleted_at is null
 where p.id = $1 and p.deleted_at is null and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))

-- name: create_customer_address :optional
-- (customer, scope, user, teams, id, postal_code, prefecture, city, town, street, building, note)
with owner as (
  select c.id, (select coalesce(max(x.position) + 1, 0) from customer_address x where x.customer_id = c.id and x.deleted_at is null) as next
    from customer c where c.id = $1 and c.deleted_at is null
     and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))),
made as (
  insert into customer_address (id, customer_id, postal_code, prefecture, city, town, street, building, note, position)
  select $5::uuid, o.id, $6, $7, $8, $9, $10, $11, $12, o.next from owner o
  returning id, customer_id, postal_code, prefecture, city, town, street, building, note, position, version)
select answer(201, to_json(m), m.version::text) as body, m.version::text as etag from made m

-- name: update_customer_address :optional
-- (id, version, scope, user, teams, postal_code?, postal_code, prefecture, city, town, street, building, note, position)
with done as (
  update customer_address a set
    postal_code = case when $6::boolean then $7 else a.postal_code end, prefecture = coalesce($8, a.prefecture), city = coalesce($9, a.city), town = coalesce($10, a.town),
    street = coalesce($11, a.street), building = coalesce($12, a.building), note = coalesce($13, a.note), position = coalesce($14::integer, a.position)
  from customer c
  where a.id = $1 and a.version = $2::integer and a.deleted_at is null and c.id = a.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning a.id, a.customer_id, a.postal_code, a.prefecture, a.city, a.town, a.street, a.building, a.note, a.position, a.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_customer_address :optional
-- An address that a visit goes to stays.
with done as (
  update customer_address a set deleted_at = now() from customer c
  where a.id = $1 and a.version = $2::integer and a.deleted_at is null and c.id = a.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
    and not exists (select from appointment v where v.customer_id = c.id and v.address_id = a.id and v.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED'))
  returning a.id, a.version, a.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: why_not_customer_address :optional
select a.version, exists (select from appointment v where v.customer_id = c.id and v.address_id = a.id and v.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED'))
  from customer_address a join customer c on c.id = a.customer_id and c.deleted_at is null
 where a.id = $1 and a.deleted_at is null and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))

-- name: create_customer_email :optional
-- (customer, scope, user, teams, id, email)
with owner as (
  select c.id, (select coalesce(max(x.position) + 1, 0) from customer_email x where x.customer_id = c.id and x.deleted_at is null) as next
    from customer c where c.id = $1 and c.deleted_at is null
     and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))),
made as (
  insert into customer_email (id, customer_id, email, position) select $5::uuid, o.id, $6, o.next from owner o
  returning id, customer_id, email, position, version)
select answer(201, to_json(m), m.version::text) as body, m.version::text as etag from made m

-- name: update_customer_email :optional
-- (id, version, scope, user, teams, email, position)
with done as (
  update customer_email e set email = coalesce($6, e.email), position = coalesce($7::integer, e.position)
  from customer c
  where e.id = $1 and e.version = $2::integer and e.deleted_at is null and c.id = e.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning e.id, e.customer_id, e.email, e.position, e.version)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: hide_customer_email :optional
with done as (
  update customer_email e set deleted_at = now() from customer c
  where e.id = $1 and e.version = $2::integer and e.deleted_at is null and c.id = e.customer_id and c.deleted_at is null
    and ($3::text = 'all' or $3 = 'own' and c.owner_id = $4::uuid or $3 = 'team' and c.team_id = any ($5::uuid[]))
  returning e.id, e.version, e.deleted_at)
select answer(200, to_json(d), d.version::text) as body, d.version::text as etag from done d

-- name: why_not_customer_email :optional
select e.version from customer_email e join customer c on c.id = e.customer_id and c.deleted_at is null
 where e.id = $1 and e.deleted_at is null and ($2::text = 'all' or $2 = 'own' and c.owner_id = $3::uuid or $2 = 'team' and c.team_id = any ($4::uuid[]))

-- name: list_towns :one pipeline
-- Every town a postal code may mean.
select json_build_object('items', coalesce(json_agg(json_build_object('postal_code', t.postal_code, 'prefecture', t.prefecture, 'city', t.city, 'town', t.town)
         order by t.prefecture, t.city, t.town), '[]')) from postal_town t where t.postal_code = $1

-- name: count_towns :one
select count(*) from postal_town

-- name: lock_towns :exec
select pg_advisory_xact_lock(hashtextextended('postal_town', 3))

-- name: add_towns :exec
insert into postal_town (postal_code, prefecture, city, town)
select t.postal_code, t.prefecture, t.city, t.town from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as t (postal_code, prefecture, city, town)
on conflict do nothing
