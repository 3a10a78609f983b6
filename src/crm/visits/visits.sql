-- Areas ------------------------------------------------------------------------------------------------------------------
-- name: list_service_areas :many
select service_area_json(a.id) as item, a.name, a.id::text
  from service_area a
 where a.deleted_at is null and ($1::text is null or (a.name, a.id) > ($1::text, $2::uuid))
 order by a.name, a.id limit $3::integer + 1

-- name: get_service_area :optional pipeline
select service_area_json(a.id) as body, a.version::text as etag from service_area a where a.id = $1 and a.deleted_at is null

-- name: insert_service_area :exec
insert into service_area (id, name, team_id, active) values ($1, $2, $3, coalesce($4::boolean, true)) on conflict (id) do nothing

-- name: update_service_area :exec
update service_area set name = coalesce($2, name), active = coalesce($3, active), team_id = case when $4::boolean then $5::uuid else team_id end where id = $1

-- name: drop_postal_prefixes :exec
delete from service_area_postal where service_area_id = $1 and $2::text[] is not null and postal_prefix <> all ($2::text[])

-- name: add_postal_prefixes :exec
insert into service_area_postal (service_area_id, postal_prefix)
select $1, p from (select distinct unnest($2::text[]) as p) x
 where not exists (select from service_area_postal s where s.service_area_id = $1 and s.postal_prefix = p)

-- name: made_service_area :optional
select answer(201, service_area_json(a.id), a.version::text) as body, a.version::text as etag
  from service_area a where a.id = $1 and a.name = $2 and a.team_id is not distinct from $3 and a.deleted_at is null

-- name: changed_service_area :one
select answer(200, service_area_json(a.id), a.version::text) as body, a.version::text as etag from service_area a where a.id = $1

-- name: require_service_area :exec
select require_version('service_area', $1, $2)

-- Appraisers -------------------------------------------------------------------------------------------------------------
-- name: list_appraisers :many
select appraiser_json(a.id) as item, a.display_name, a.id::text
  from appraiser a
 where a.deleted_at is null and ($1::text is null or (a.display_name, a.id) > ($1::text, $2::uuid))
   and ($4::uuid is null or a.area_ids = '{}' or $4 = any (a.area_ids))
 order by a.display_name, a.id limit $3::integer + 1

-- name: get_appraiser :optional pipeline
select appraiser_json(a.id) as body, a.version::text as etag from appraiser a where a.id = $1 and a.deleted_at is null

-- name: insert_appraiser :exec
insert into appraiser (id, display_name, user_id, skills, area_ids, team_id, active)
values ($1, $2, $3, coalesce($4::uuid[], '{}'), coalesce($5::uuid[], '{}'), $6, coalesce($7::boolean, true)) on conflict (id) do nothing

-- name: made_appraiser :optional
select answer(201, appraiser_json(a.id), a.version::text) as body, a.version::text as etag
  from appraiser a where a.id = $1 and a.display_name = $2 and a.user_id is not distinct from $3 and a.deleted_at is null

-- What is in doubt before an appraiser changes, and what the change adds to it: an error, unless the caller says that it may.
-- name: note_visits_in_doubt :exec
select note_visits_in_doubt($1::uuid)

-- name: refuse_visits_in_doubt :exec
select refuse_visits_in_doubt($1::uuid, $2::boolean)

-- name: note_visits_of_hours :exec
select note_visits_in_doubt(h.appraiser_id) from appraiser_hours h where h.id = $1 and h.deleted_at is null

-- name: refuse_visits_of_hours :exec
select refuse_visits_in_doubt(h.appraiser_id, $2::boolean) from appraiser_hours h where h.id = $1 and h.deleted_at = now()

-- name: require_appraiser :exec
select require_version('appraiser', $1, $2)

-- name: update_appraiser :exec
update appraiser set display_name = coalesce($2, display_name), user_id = case when $3::boolean then $4::uuid else user_id end,
       skills = coalesce($5::uuid[], skills), area_ids = coalesce($6::uuid[], area_ids), team_id = case when $7::boolean then $8::uuid else team_id end,
       active = coalesce($9::boolean, active)
 where id = $1

-- name: changed_appraiser :optional
select answer(200, appraiser_json(a.id), a.version::text) as body, a.version::text as etag from appraiser a where a.id = $1 and a.deleted_at is null

-- name: insert_hours :exec
insert into appraiser_hours (id, appraiser_id, weekday, day, from_time, to_time, off)
select $1, a.id, $3, $4, $5, $6, coalesce($7::boolean, false) from appraiser a where a.id = $2 and a.deleted_at is null
on conflict (id) do nothing

-- name: made_hours :optional
select answer(201, appraiser_json(h.appraiser_id), a.version::text) as body, a.version::text as etag
  from appraiser_hours h join appraiser a on a.id = h.appraiser_id
 where h.id = $1 and h.appraiser_id = $2 and h.weekday is not distinct from $3 and h.day is not distinct from $4 and h.deleted_at is null

-- name: delete_hours :exec
update appraiser_hours set deleted_at = now() where id = $1 and deleted_at is null

-- name: gone_hours :optional
select answer(200, appraiser_json(a.id), a.version::text) as body, a.version::text as etag
  from appraiser_hours h join appraiser a on a.id = h.appraiser_id where h.id = $1 and h.deleted_at = now()

-- Slots ------------------------------------------------------------------------------------------------------------------
-- Days are those of the business time zone.
-- name: list_slots_of_area :many
select visit_slot_json(s.id) as item, s.starts_at::text, s.id::text
  from visit_slot s
 where s.service_area_id = $1 and s.deleted_at is null
   and s.starts_at >= $2::date::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and s.starts_at < ($3::date + 1)::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and ($4::timestamptz is null or (s.starts_at, s.id) > ($4::timestamptz, $5::uuid))
 order by s.starts_at, s.id limit $6::integer + 1

-- name: list_slots :many
select visit_slot_json(s.id) as item, s.starts_at::text, s.id::text
  from visit_slot s
 where s.deleted_at is null
   and s.starts_at >= $1::date::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and s.starts_at < ($2::date + 1)::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and ($3::timestamptz is null or (s.starts_at, s.id) > ($3::timestamptz, $4::uuid))
 order by s.starts_at, s.id limit $5::integer + 1

-- name: insert_slot :exec
insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity)
select $1, a.id, $3, $4, $5 from service_area a where a.id = $2 and a.deleted_at is null
on conflict (id) do nothing

-- name: made_slot :optional
select answer(201, visit_slot_json(s.id), s.version::text) as body, s.version::text as etag
  from visit_slot s where s.id = $1 and s.service_area_id = $2 and s.starts_at = $3 and s.ends_at = $4 and s.capacity = $5 and s.deleted_at is null

-- name: require_slot :exec
select require_version('visit_slot', $1, $2)

-- name: update_slot :one
with changed as (
  update visit_slot set capacity = coalesce($2, capacity), starts_at = coalesce($3, starts_at), ends_at = coalesce($4, ends_at) where id = $1 returning id, version)
select answer(200, visit_slot_json(id), version::text) as body, version::text as etag from changed

-- Bands of a week for many areas and days at once. What is there already stays as it is, so the same plan twice does no harm.
-- Nothing, when one of the areas is unknown.
-- name: plan_slots :optional
with known as (
  select not exists (select from unnest($1::uuid[]) w (id) where not exists (select from service_area a where a.id = w.id and a.deleted_at is null)) as all_of_them),
bands as (select b.from_time, b.to_time, b.capacity from json_to_recordset($5::json) b (from_time time, to_time time, capacity integer)),
wanted as (
  select a.id as service_area_id, b.capacity,
         (d.day::date + b.from_time) at time zone (rule_value('business_time_zone') #>> '{}') as starts_at,
         (d.day::date + b.to_time) at time zone (rule_value('business_time_zone') #>> '{}') as ends_at
    from service_area a, generate_series($2::date::timestamp, $3::date::timestamp, interval '1 day') as d(day), bands b
   where (select all_of_them from known) and a.id = any ($1) and a.deleted_at is null and extract(dow from d.day)::integer = any ($4::integer[])),
made as (
  insert into visit_slot (id, service_area_id, starts_at, ends_at, capacity)
  select new_id(), w.service_area_id, w.starts_at, w.ends_at, w.capacity from wanted w
  on conflict (service_area_id, starts_at, ends_at) where deleted_at is null do nothing
  returning id)
select answer(201, json_build_object('created', (select count(*) from made), 'already_there', (select count(*) from wanted) - (select count(*) from made))) as body
  from known where all_of_them

-- Availability -----------------------------------------------------------------------------------------------------------
-- $1 postal code (or null), $2 address (or null), $3 and $4 first and last day, $5 categories, $6 minutes that a visit takes.
-- A slot is shown with its free places and the appraisers who have a gap long enough: on duty, of the area, skilled, with no other visit.
-- name: availability :one
with zone as materialized (select rule_value('business_time_zone') #>> '{}' as tz),
place as materialized (
  select area_of_postal_code(coalesce($1::text, (select d.postal_code from customer_address d where d.id = $2::uuid and d.deleted_at is null))) as area),
slots as materialized (
  select s.id, s.service_area_id, s.starts_at, s.ends_at, s.capacity, (s.starts_at at time zone z.tz)::date as day,
         s.capacity - (select count(*) from appointment a
                        where a.slot_id = s.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')
                          and (a.state <> 'HELD' or a.hold_expires_at > now())) as free
    from visit_slot s, zone z
   where s.service_area_id = (select area from place) and s.deleted_at is null
     and s.starts_at >= greatest($3::date::timestamp at time zone z.tz, now()) and s.starts_at < ($4::date + 1)::timestamp at time zone z.tz),
staff as materialized (
  select w.id, w.display_name from appraiser w
   where w.active and w.deleted_at is null and (w.area_ids = '{}' or (select area from place) = any (w.area_ids))
     and (w.skills = '{}' or coalesce($5::uuid[], '{}') <@ w.skills)),
duty as materialized (
  select w.id, w.display_name, d.day, appraiser_duty(w.id, d.day) as hours from staff w, (select distinct day from slots where free > 0) d),
gaps as (
  select s.id as slot_id, d.id, d.display_name, lower(g.gap) as starts_at, upper(g.gap) as ends_at
    from slots s
    join duty d on d.day = s.day
   cross join lateral unnest(d.hours * tstzmultirange(tstzrange(s.starts_at, s.ends_at)) - coalesce(
           (select range_agg(tstzrange(a.starts_at, a.ends_at)) from appointment a
             where a.appraiser_id = d.id and tstzrange(a.starts_at, a.ends_at) && tstzrange(s.starts_at, s.ends_at)
               and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and (a.state <> 'HELD' or a.hold_expires_at > now())),
           '{}'::tstzmultirange)) as g(gap)
   where s.free > 0 and upper(g.gap) - lower(g.gap) >= $6::integer * interval '1 minute'),
people as (
  select p.slot_id, json_agg(json_build_object('appraiser_id', p.id, 'display_name', p.display_name, 'free', p.free) order by p.display_name, p.id) as appraisers
    from (select slot_id, id, display_name, json_agg(json_build_object('starts_at', starts_at, 'ends_at', ends_at) order by starts_at) as free
            from gaps group by slot_id, id, display_name) p
   group by p.slot_id)
select json_build_object('service_area_id', (select area from place), 'items', coalesce(
         (select json_agg(json_build_object('slot_id', s.id, 'service_area_id', s.service_area_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at,
                   'capacity', s.capacity, 'free', greatest(s.free, 0), 'appraisers', coalesce(p.appraisers, '[]')) order by s.starts_at, s.id)
            from slots s left join people p on p.slot_id = s.id), '[]')) as body,
       ($2::uuid is null or exists (select from customer_address d where d.id = $2::uuid and d.deleted_at is null)) as address_known

-- Appointments -----------------------------------------------------------------------------------------------------------
-- What they do is in functions (db/migrations/0007_visits.sql), for a booking is the same wherever it is made.
-- name: take_appointment :one
select answer(201, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from take_appointment($1, $2, $3, $4, $5, $6, $7, $8::uuid[], $9, $10, $11, $12, $13) b

-- name: assert_inquiry_scope :exec
select refuse('422', 'INQUIRY_NOT_FOUND', 'There is no such inquiry.', jsonb_build_object('inquiry_id', $1::uuid))
 where not exists (select from inquiry i where i.id = $1::uuid and i.deleted_at is null
                      and ($2::text = 'all' or i.owner_id = $3::uuid or $2 = 'team' and i.team_id = any ($4::uuid[])))

-- name: book_held :one
select answer(200, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from book_held_appointment($1, $2, $3, $4::uuid[], $5, $6, $7::uuid[]) b

-- name: advance :one
select answer(200, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from advance_appointment($1, $2, $3, $4, $5, $6::uuid[]) b

-- name: end_visit :one
select answer(200, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from end_appointment($1, $2, $3, $4, $5, $6, $7, $8, $9::uuid[]) b

-- name: reschedule :one
select answer(201, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from reschedule_appointment($1, $2, $3, $4, $5, $6, $7::uuid[], $8, $9, $10, $11, $12, $13::uuid[]) b

-- name: edit :one
select answer(200, appointment_json(b.id), b.version::text) as body, b.version::text as etag
  from edit_appointment($1, $2, $3, $4, $5, $6::uuid[], $7, $8, $9::uuid[]) b

-- name: get_appointment :optional pipeline
select appointment_json(a.id) as body, a.version::text as etag
  from appointment a
 where a.id = $1 and ($2 = 'all' or a.owner_id = $3 or $2 = 'team' and a.team_id = any ($4::uuid[])
        or exists (select from appraiser w where w.id = a.appraiser_id and w.user_id = $3))

-- name: appointments_of_day :many
select appointment_json(a.id) as item, a.starts_at::text, a.id::text
  from appointment a
 where a.starts_at >= $5::date::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and a.starts_at < ($5::date + 1)::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and ($1 = 'all' or a.owner_id = $2 or $1 = 'team' and a.team_id = any ($3::uuid[])
        or exists (select from appraiser w where w.id = a.appraiser_id and w.user_id = $2))
   and ($6::timestamptz is null or (a.starts_at, a.id) > ($6::timestamptz, $7::uuid))
 order by a.starts_at, a.id limit $4::integer + 1

-- A day holds hundreds of visits: they are read in their order, and those of other areas passed over.
-- name: appointments_of_area :many
select appointment_json(a.id) as item, a.starts_at::text, a.id::text
  from appointment a join visit_slot s on s.id = a.slot_id and s.service_area_id = $8::uuid
 where a.starts_at >= $5::date::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and a.starts_at < ($5::date + 1)::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and ($1 = 'all' or a.owner_id = $2 or $1 = 'team' and a.team_id = any ($3::uuid[])
        or exists (select from appraiser w where w.id = a.appraiser_id and w.user_id = $2))
   and ($6::timestamptz is null or (a.starts_at, a.id) > ($6::timestamptz, $7::uuid))
 order by a.starts_at, a.id limit $4::integer + 1

-- An area besides, if wanted: a day of one appraiser is short.
-- name: appointments_of_appraiser :many
select appointment_json(a.id) as item, a.starts_at::text, a.id::text
  from appointment a
 where a.appraiser_id = $8::uuid
   and ($9::uuid is null or exists (select from visit_slot s where s.id = a.slot_id and s.service_area_id = $9::uuid))
   and a.starts_at >= $5::date::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and a.starts_at < ($5::date + 1)::timestamp at time zone (rule_value('business_time_zone') #>> '{}')
   and ($1 = 'all' or a.owner_id = $2 or $1 = 'team' and a.team_id = any ($3::uuid[])
        or exists (select from appraiser w where w.id = a.appraiser_id and w.user_id = $2))
   and ($6::timestamptz is null or (a.starts_at, a.id) > ($6::timestamptz, $7::uuid))
 order by a.starts_at, a.id limit $4::integer + 1

-- name: appointments_of_customer :many
select appointment_json(a.id) as item, a.starts_at::text, a.id::text
  from appointment a
 where a.customer_id = $5::uuid
   and ($1 = 'all' or a.owner_id = $2 or $1 = 'team' and a.team_id = any ($3::uuid[])
        or exists (select from appraiser w where w.id = a.appraiser_id and w.user_id = $2))
   and ($6::timestamptz is null or (a.starts_at, a.id) < ($6::timestamptz, $7::uuid))
 order by a.starts_at desc, a.id desc limit $4::integer + 1

-- The caller's own from a day on: the visits they make as an appraiser, else the bookings they made.
-- name: appointments_of_mine :many
with me as materialized (select w.id from appraiser w where w.user_id = $1 and w.deleted_at is null),
since as materialized (select coalesce($3::date, (now() at time zone (rule_value('business_time_zone') #>> '{}'))::date)::timestamp at time zone (rule_value('business_time_zone') #>> '{}') as at),
mine as (
  (select a.id, a.starts_at from appointment a
    where a.appraiser_id = (select id from me) and a.starts_at >= (select at from since)
      and ($4::timestamptz is null or (a.starts_at, a.id) > ($4::timestamptz, $5::uuid))
    order by a.starts_at, a.id limit $2::integer + 1)
  union all
  (select a.id, a.starts_at from appointment a
    where a.owner_id = $1 and not exists (select from me) and a.starts_at >= (select at from since)
      and ($4::timestamptz is null or (a.starts_at, a.id) > ($4::timestamptz, $5::uuid))
    order by a.starts_at, a.id limit $2::integer + 1))
select appointment_json(m.id) as item, m.starts_at::text, m.id::text from mine m order by m.starts_at, m.id limit $2::integer + 1
