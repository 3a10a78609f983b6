-- Write-through: an edit of a record that a legacy system owns runs here for real, in a transaction that is let past the gate, is written to the
-- source before that transaction commits, and ends with what the source made of it (docs/adr/0009, src/takeover/write_through.hpp).

-- What a crash leaves to be finished: the answer (takeover_intent.record), and where it is to be remembered.
alter table takeover_intent
  add column principal uuid,
  add column idempotency_key text,
  add column request_hash bytea,
  add column status integer not null default 200,
  add column etag text,
  add column allotted jsonb not null default '{}';  -- {id made of a child's key: {"id": the id it is to have, "was": what it had or null}}
create index legacy_child_id on legacy_child (id);

-- Who went past the gate of a legacy system's domain, and has not written there yet: a transaction that leaves a row here cannot commit.
create table takeover_passage (
  xid xid8 not null default pg_current_xact_id(),
  domain text not null,
  primary key (xid, domain)
);
revoke insert, update on takeover_passage from enishi_app;

create function passage_settled() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  if exists (select from takeover_passage p where p.xid = new.xid and p.domain = new.domain) then
    raise exception using errcode = 'EN002', message = format('the domain %s belongs to a legacy system, which was not told of this change', new.domain);
  end if;
  return null;
end $$;
create constraint trigger settled after insert on takeover_passage deferrable initially deferred for each row execute function passage_settled();

create function pass_gate(of_domain text) returns void language sql security definer set search_path = pg_catalog, public as $$
  insert into takeover_passage (domain) values (of_domain) on conflict do nothing
$$;

-- As in 0001, and: the mirror writes while the legacy system owns, and not while the way back is under way; a domain may be read-only (0018); a
-- transaction that write-through answers for goes on; whoever is refused is told whose the data are.
create or replace function gate() returns trigger language plpgsql as $$
declare
  o record;
begin
  if not pg_try_advisory_xact_lock_shared(1162760521, tg_argv[1]::integer) then
    raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
  end if;
  select state, read_only, system into o from public.domain_ownership where domain = tg_argv[0];
  if public.mirroring() then
    if o.state in ('LEGACY', 'SWITCHING') then return null; end if;
    raise exception using errcode = 'EN409', constraint = 'NOT_MIRRORED', message = 'the domain ' || tg_argv[0] || ' is not a legacy system''s any more';
  end if;
  if o.read_only is not null then
    raise exception using errcode = 'EN409', constraint = 'DOMAIN_READ_ONLY', message = format('The domain %s can only be read: %s', tg_argv[0], o.read_only);
  end if;
  if o.state in ('LOCAL', 'OWNED') then return null; end if;
  if o.state = 'LEGACY' then
    if coalesce(current_setting('enishi.through', true), '') <> '' then
      perform public.pass_gate(tg_argv[0]);
      return null;
    end if;
    raise exception using errcode = 'EN002', message = format('The domain %s belongs to a legacy system, %s, which cannot be told of this change; make it there.', tg_argv[0], o.system),
      detail = json_build_object('domain', tg_argv[0], 'system', o.system)::text;
  end if;
  raise exception using errcode = 'EN001', message = 'the domain ' || tg_argv[0] || ' is changing hands';
end $$;

-- The running transaction is write-through's, for this request; whoever looks for requests that were cut short sees that it lives.
create function write_through_begin(request uuid) returns void language plpgsql as $$
begin
  if not pg_try_advisory_xact_lock(hashtextextended(request::text, 11)) then
    perform public.refuse('409', 'IDEMPOTENCY_KEY_IN_USE', 'A request with this Idempotency-Key is still being worked on; ask again in a moment.');
  end if;
  perform set_config('enishi.through', request::text, true);
end $$;

-- What the running transaction changed: domains whose gate it passed, their system, the records (roots), tables of other domains, and whether only
-- children of the record changed.
create function write_through_touched(out domain text, out domains bigint, out system text, out roots uuid[], out elsewhere text[], out children boolean)
language plpgsql stable as $$
#variable_conflict use_column
begin
  select min(p.domain), count(*) into domain, domains from public.takeover_passage p where p.xid = pg_current_xact_id();
  select o.system into system from public.domain_ownership o where o.domain = write_through_touched.domain;
  select array_agg(distinct (h.content ->> t.key_column)::uuid) filter (where t.relation is not null), array_agg(distinct h.table_name) filter (where t.relation is null),
         not coalesce(bool_or(h.table_name = write_through_touched.domain), false)
    into roots, elsewhere, children
    from public.history h left join public.reverse_tables(write_through_touched.domain) t on t.relation = h.table_name::regclass
   where h.xid = pg_current_xact_id() and h.at >= now();
end $$;

-- The children of a record whose ids were not made of their keys: {id: the id made of the key}.
create function adopted_children(record jsonb) returns jsonb language sql stable as $$
  select coalesce(jsonb_object_agg(l.id, l.derived), '{}')
    from jsonb_path_query(coalesce(record -> 'phones', '[]') || coalesce(record -> 'addresses', '[]') || coalesce(record -> 'emails', '[]') || coalesce(record -> 'items', '[]'), '$[*].id') x
    join public.legacy_child l on l.id = (x #>> '{}')::uuid
$$;

-- Noted before the source commits: what is on its way, the ids that its new children and itself are to have.
create function write_through_intend(request uuid, of_system text, of_domain text, record uuid, key text, made boolean, of_expected text, answer jsonb, of_actor text,
                                     of_request_id text, of_principal uuid, of_key text, hash bytea, of_status integer, of_etag text, ids jsonb)
returns boolean language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
declare
  kept jsonb := '{}';
begin
  if ids <> '{}' then
    select jsonb_object_agg(e.key, jsonb_build_object('id', e.value, 'was', (select l.id from legacy_child l where l.derived = e.key::uuid))) into kept from jsonb_each_text(ids) e;
    insert into legacy_child (derived, id) select e.key::uuid, e.value::uuid from jsonb_each_text(ids) e on conflict (derived) do update set id = excluded.id;
  end if;
  if made then
    insert into legacy_identity (system, domain, legacy_key, id, era, snapshot_xmax, in_progress) values (of_system, of_domain, key, record, 0, 0, 0) on conflict do nothing;
    if not found then return false; end if;
  end if;
  insert into takeover_intent as t (id, system, domain, record_id, legacy_key, expected, record, actor, request_id, principal, idempotency_key, request_hash, status, etag, allotted)
  values (request, of_system, of_domain, record, key, decode(of_expected, 'hex'), answer, of_actor, of_request_id, of_principal, of_key, hash, of_status, of_etag, kept)
  on conflict (id) do update set system = excluded.system, domain = excluded.domain, record_id = excluded.record_id, legacy_key = excluded.legacy_key, expected = excluded.expected,
     record = excluded.record, actor = excluded.actor, request_id = excluded.request_id, request_hash = excluded.request_hash, status = excluded.status, etag = excluded.etag,
     allotted = excluded.allotted, state = 'PENDING', error = null, created_at = now(), finished_at = null
   where t.state = 'REFUSED';
  return found;
end $$;

-- The source never had it: what was allotted goes back.
create function write_through_cancel(request uuid, why jsonb) returns void language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  t takeover_intent;
begin
  update takeover_intent i set state = 'REFUSED', error = why, record = '{}', finished_at = now() where i.id = request and i.state = 'PENDING' returning * into t;
  if not found then return; end if;
  update legacy_child l set id = (e.value ->> 'was')::uuid from jsonb_each(t.allotted) e where l.derived = e.key::uuid and e.value ->> 'was' is not null;
  delete from legacy_child l using jsonb_each(t.allotted) e where l.derived = e.key::uuid and e.value ->> 'was' is null;
  if t.expected is null then
    delete from legacy_identity i where i.system = t.system and i.domain = t.domain and i.legacy_key = t.legacy_key and i.era = 0;
  end if;
end $$;

-- An answer with the values that are stored: every object in it that has an id and a version is a record.
create function as_stored(answer jsonb) returns jsonb language plpgsql stable as $$
declare
  stored jsonb;
begin
  if jsonb_typeof(answer) = 'array' then
    return (select coalesce(jsonb_agg(public.as_stored(e.v) order by e.n), '[]') from jsonb_array_elements(answer) with ordinality e(v, n));
  end if;
  if jsonb_typeof(answer) is distinct from 'object' then return answer; end if;
  answer := (select coalesce(jsonb_object_agg(e.key, case when jsonb_typeof(e.value) in ('object', 'array') then public.as_stored(e.value) else e.value end), '{}') from jsonb_each(answer) e);
  if not answer ?& array['id', 'version'] then return answer; end if;
  select r.content into stored from (
    select to_jsonb(x) from public.customer x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.customer_phone x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.customer_address x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.customer_email x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.inquiry x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.inquiry_item x where x.id = (answer ->> 'id')::uuid union all
    select to_jsonb(x) from public.goods x where x.id = (answer ->> 'id')::uuid) r(content) limit 1;
  if stored is null then return answer; end if;
  return answer || (select jsonb_object_agg(k, stored -> k) from jsonb_object_keys(answer) k where stored ? k);
end $$;

-- The end of a transaction that went past the gate: the source has it (or nothing of it is the source's). Gives the answer as it is stored.
create function write_through_end(request uuid, answer jsonb, of_etag text, out body jsonb, out etag text) language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
begin
  body := as_stored(answer);
  etag := case when of_etag is not null then coalesce(body ->> 'version', of_etag) end;
  if coalesce(current_setting('enishi.key', true), '') <> '' then
    update idempotency i set answer = body::text, etag = write_through_end.etag
     where i.principal = current_setting('enishi.principal')::uuid and i.key = current_setting('enishi.key');
  end if;
  delete from takeover_passage p where p.xid = pg_current_xact_id();
  update takeover_intent t set state = 'DONE', record = '{}', finished_at = now() where t.id = request and t.state = 'PENDING';
end $$;

-- The same after a crash: the source had it, and it was pulled. Whoever repeats the request gets the answer.
create function write_through_recovered(request uuid, out body jsonb, out etag text) language plpgsql security definer set search_path = pg_catalog, public as $$
#variable_conflict use_variable
declare
  t takeover_intent;
begin
  update takeover_intent i set state = 'DONE', finished_at = now() where i.id = request and i.state = 'PENDING' returning * into t;
  if not found then return; end if;
  body := as_stored(t.record);
  etag := case when t.etag is not null then coalesce(body ->> 'version', t.etag) end;
  if t.idempotency_key is not null and t.record <> '{}' then
    insert into idempotency (principal, key, request_hash, status, etag, answer)
    values (t.principal, t.idempotency_key, t.request_hash, t.status, write_through_recovered.etag, body::text) on conflict do nothing;
  end if;
  update takeover_intent i set record = '{}' where i.id = request;
end $$;

revoke execute on function pass_gate(text), write_through_begin(uuid), write_through_cancel(uuid, jsonb), write_through_end(uuid, jsonb, text), write_through_recovered(uuid),
  write_through_intend(uuid, text, text, uuid, text, boolean, text, jsonb, text, text, uuid, text, bytea, integer, text, jsonb) from enishi_read;
