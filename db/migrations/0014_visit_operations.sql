-- Visits and compliance: who may do what. Appraisers work on their own visits; whoever a customer calls may move any visit.

select grant_operation('list_service_areas', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('create_service_area', 'supervisor:all admin:all');
select grant_operation('get_service_area', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('update_service_area', 'supervisor:all admin:all');
select grant_operation('list_appraisers', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('create_appraiser', 'supervisor:all admin:all');
select grant_operation('get_appraiser', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('update_appraiser', 'supervisor:all admin:all');
select grant_operation('create_appraiser_hours', 'supervisor:all admin:all');
select grant_operation('delete_appraiser_hours', 'supervisor:all admin:all');
select grant_operation('list_visit_slots', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('create_visit_slot', 'supervisor:all admin:all');
select grant_operation('create_visit_slot_plan', 'supervisor:all admin:all');
select grant_operation('update_visit_slot', 'supervisor:all admin:all');
select grant_operation('get_availability', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');

select grant_operation('list_appointments', 'operator:all supervisor:all marketing:all compliance:all appraiser:own admin:all');
select grant_operation('get_appointment', 'operator:all supervisor:all marketing:all compliance:all appraiser:own admin:all');
select grant_operation('create_appointment', 'operator:all supervisor:all admin:all');
select grant_operation('update_appointment', 'operator:all supervisor:all appraiser:own admin:all');
select grant_operation('book_appointment', 'operator:all supervisor:all admin:all');
select grant_operation('confirm_appointment', 'operator:all supervisor:all appraiser:own admin:all');
select grant_operation('depart_appointment', 'supervisor:all appraiser:own admin:all');
select grant_operation('arrive_appointment', 'supervisor:all appraiser:own admin:all');
select grant_operation('complete_appointment', 'supervisor:all appraiser:own admin:all');
select grant_operation('mark_no_show', 'supervisor:all appraiser:own admin:all');
select grant_operation('cancel_appointment', 'operator:all supervisor:all appraiser:own admin:all');
select grant_operation('reschedule_appointment', 'operator:all supervisor:all admin:all');

select grant_operation('list_solicitation_requests', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('create_solicitation_request', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('list_solicitation_bans', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('create_solicitation_ban', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('get_solicitation_ban', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('lift_solicitation_ban', 'compliance:all');
select grant_operation('list_rules', 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all');
select grant_operation('add_rule', 'compliance:all admin:all');
select grant_operation('list_personal_data_views', 'compliance:all admin:all');

-- First step of a PATCH: the row is there, alive, and of the version the caller saw; and stays so to the end of the transaction.
create function require_version(target regclass, wanted uuid, expected bigint) returns void language plpgsql as $$
declare
  current_version integer;
begin
  execute format('select version from %s where id = $1 and deleted_at is null for no key update', target) into current_version using wanted;
  if current_version is null then
    perform public.refuse('404', 'NOT_FOUND', 'There is nothing with this id.');
  elsif current_version <> expected then
    perform public.refuse('412', 'VERSION_MISMATCH', 'Somebody changed it meanwhile; look at it again and repeat the change.', jsonb_build_object('current_version', current_version));
  end if;
end $$;

-- Entities as the API gives them. Volatile, so that they see what the statement around them has just done.
create function service_area_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', a.id, 'name', a.name, 'team_id', a.team_id, 'active', a.active, 'version', a.version, 'created_at', a.created_at, 'updated_at', a.updated_at,
    'postal_prefixes', (select coalesce(json_agg(p.postal_prefix order by p.postal_prefix), '[]') from public.service_area_postal p where p.service_area_id = a.id))
    from public.service_area a where a.id = wanted
$$;

create function appraiser_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', a.id, 'user_id', a.user_id, 'display_name', a.display_name, 'skills', a.skills, 'area_ids', a.area_ids, 'team_id', a.team_id,
    'active', a.active, 'version', a.version, 'created_at', a.created_at, 'updated_at', a.updated_at,
    'hours', (select coalesce(json_agg(json_build_object('id', h.id, 'weekday', h.weekday, 'day', h.day, 'from_time', to_char(h.from_time, 'HH24:MI'), 'to_time', to_char(h.to_time, 'HH24:MI'),
                'off', h.off) order by h.weekday nulls last, h.day, h.from_time), '[]')
                from public.appraiser_hours h where h.appraiser_id = a.id and h.deleted_at is null
                 and (h.day is null or h.day >= (now() at time zone (public.rule_value('business_time_zone') #>> '{}'))::date)))
    from public.appraiser a where a.id = wanted
$$;

create function visit_slot_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', s.id, 'service_area_id', s.service_area_id, 'starts_at', s.starts_at, 'ends_at', s.ends_at, 'capacity', s.capacity,
    'taken', (select count(*) from public.appointment a where a.slot_id = s.id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED')
                 and (a.state <> 'HELD' or a.hold_expires_at > now())),
    'version', s.version, 'created_at', s.created_at, 'updated_at', s.updated_at)
    from public.visit_slot s where s.id = wanted
$$;

-- Edits what may be edited of an appointment; null keeps. Moving it is rescheduling.
create function edit_appointment(wanted uuid, expected bigint, new_notes text, address uuid, request uuid, categories uuid[], scope text, who uuid, teams uuid[])
returns appointment language plpgsql as $$
declare
  a public.appointment%rowtype := public.find_appointment(wanted, scope, who, teams);
begin
  update public.appointment x set notes = coalesce(new_notes, x.notes), address_id = coalesce(address, x.address_id),
         solicitation_request_id = coalesce(request, x.solicitation_request_id), category_ids = coalesce(categories, x.category_ids)
   where x.id = wanted and x.version = expected returning * into a;
  if not found then
    perform public.refuse('412', 'VERSION_MISMATCH', 'Somebody changed it meanwhile; look at it again and repeat the change.',
      jsonb_build_object('current_version', (select x.version from public.appointment x where x.id = wanted)));
  end if;
  return a;
end $$;

create function solicitation_request_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', r.id, 'customer_id', r.customer_id, 'inquiry_id', r.inquiry_id, 'scope', r.scope, 'category_ids', r.category_ids,
    'call_attempt_id', r.call_attempt_id, 'operator_id', r.operator_id, 'verbatim', r.verbatim, 'disclosed_at', r.disclosed_at,
    'willingness_confirmed_at', r.willingness_confirmed_at, 'requested_at', r.requested_at, 'version', r.version, 'created_at', r.created_at, 'updated_at', r.updated_at)
    from public.solicitation_request r where r.id = wanted
$$;

create function solicitation_ban_json(wanted uuid) returns json language sql volatile as $$
  select json_build_object('id', b.id, 'customer_id', b.customer_id, 'reason', b.reason, 'source', b.source, 'call_attempt_id', b.call_attempt_id, 'inquiry_id', b.inquiry_id,
    'banned_at', b.banned_at, 'lifted_at', b.lifted_at, 'lift_reason', b.lift_reason, 'lift_inquiry_id', b.lift_inquiry_id, 'version', b.version,
    'created_at', b.created_at, 'updated_at', b.updated_at,
    'covers', (select coalesce(json_agg(json_build_object('kind', k.kind, 'key', k.key, 'active', k.active) order by k.kind, k.key), '[]') from public.solicitation_ban_key k where k.ban_id = b.id),
    'open_appointments', (select coalesce(json_agg(a.id order by a.starts_at), '[]') from public.appointment a
                           where a.customer_id = b.customer_id and a.state in ('HELD', 'BOOKED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED') and b.lifted_at is null))
    from public.solicitation_ban b where b.id = wanted
$$;

-- Lists of bans and views, newest first, as they are asked for.
create index solicitation_ban_newest on solicitation_ban (banned_at desc, id desc);
create index solicitation_ban_in_force on solicitation_ban (banned_at desc, id desc) where lifted_at is null;
create index solicitation_request_customer_newest on solicitation_request (customer_id, requested_at desc, id desc) where deleted_at is null;
alter table personal_data_view add column id bigint generated always as identity;
create index personal_data_view_newest on personal_data_view (at desc, id desc);
-- Who was shown one record, newest first. The planner does not know how few ranges a bloom filter leaves, and would read the whole table.
create function views_of_record(wanted uuid, before timestamptz, before_id bigint, most integer) returns setof personal_data_view
language sql stable set enable_seqscan = off set enable_indexscan = off set max_parallel_workers_per_gather = 0 as $$
  select v.* from public.personal_data_view v where v.entity_id = wanted and (before is null or (v.at, v.id) < (before, before_id)) order by v.at desc, v.id desc limit most
$$;
