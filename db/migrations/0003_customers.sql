-- Master data and customers: a person with many phones, addresses and emails, none of them unique.

create table media_source (
  id uuid primary key,
  code text not null check (code ~ '^[A-Za-z0-9_-]{1,40}$'),
  name text not null check (length(name) between 1 and 100),
  dnis text check (dnis ~ '^\+[1-9][0-9]{6,14}$'),   -- its own inbound number, E.164
  position integer not null default 0,
  active boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index media_source_code on media_source (code) where deleted_at is null;

create table item_category (
  id uuid primary key,
  code text not null check (code ~ '^[A-Za-z0-9_-]{1,40}$'),
  name_ja text not null check (length(name_ja) between 1 and 100),
  name_en text not null check (length(name_en) between 1 and 100),
  home_visit_law boolean not null default true,      -- whether the rules for home-visit purchase apply
  position integer not null default 0,
  active boolean not null default true,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index item_category_code on item_category (code) where deleted_at is null;

-- Typed definitions of what `custom` of an entity may hold.
create table custom_field (
  id uuid primary key,
  entity text not null check (entity in ('customer', 'inquiry')),
  key text not null check (key ~ '^[a-z][a-z0-9_]{0,39}$'),
  label_ja text not null,
  label_en text not null,
  kind text not null check (kind in ('TEXT', 'INTEGER', 'BOOLEAN', 'DATE', 'CHOICE')),
  choices text[] not null default '{}',
  required boolean not null default false,
  position integer not null default 0,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index custom_field_key on custom_field (entity, key) where deleted_at is null;

-- Says no to a `custom` object that does not fit the definitions; all wrong keys at once.
create function check_custom() returns trigger language plpgsql as $$
declare
  wrong jsonb;
begin
  if new.custom = '{}' then
    if not exists (select from public.custom_field f where f.entity = tg_argv[0] and f.required and f.deleted_at is null) then return new; end if;
  elsif tg_op = 'UPDATE' and new.custom = old.custom then
    return new;
  end if;
  select jsonb_agg(jsonb_build_object('pointer', '/custom/' || coalesce(f.key, c.key), 'code',
           case when f.key is null then 'UNKNOWN_FIELD' when c.key is null then 'REQUIRED' else 'TYPE' end,
           'detail', case when f.key is null then 'no such custom field' when c.key is null then 'required' else 'not a value of kind ' || f.kind end))
    into wrong
    from (select * from public.custom_field x where x.entity = tg_argv[0] and x.deleted_at is null) f
    full join jsonb_each(new.custom) c on c.key = f.key
   where f.key is null or (c.key is null and f.required) or (c.key is not null and not case f.kind
           when 'TEXT' then jsonb_typeof(c.value) = 'string' and length(c.value #>> '{}') <= 2000
           when 'INTEGER' then jsonb_typeof(c.value) = 'number' and (c.value #>> '{}') ~ '^-?[0-9]{1,18}$'
           when 'BOOLEAN' then jsonb_typeof(c.value) = 'boolean'
           when 'DATE' then jsonb_typeof(c.value) = 'string' and (c.value #>> '{}') ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
           when 'CHOICE' then jsonb_typeof(c.value) = 'string' and (c.value #>> '{}') = any (f.choices)
         end);
  if wrong is not null then
    perform public.refuse('422', 'VALIDATION_FAILED', 'Custom fields do not fit their definitions.', jsonb_build_object('errors', wrong));
  end if;
  return new;
end $$;

create table customer (
  id uuid primary key,
  display_name text not null check (length(display_name) between 1 and 200),
  kana text not null default '' check (length(kana) <= 200),
  name_key text not null default '',        -- loose_key() of display_name and of kana (crm/japanese/names.hpp): for matching only
  kana_key text not null default '',
  birth_date date check (birth_date between '1870-01-01' and '2100-01-01'),
  notes text not null default '' check (length(notes) <= 10000),
  flags text[] not null default '{}' check (flags <@ array['VIP', 'ELDERLY', 'CAUTION', 'COMPLAINT', 'FAMILY_PRESENT_REQUIRED', 'HEARING_IMPAIRED', 'NO_MAIL']),
  custom jsonb not null default '{}' check (jsonb_typeof(custom) = 'object'),
  owner_id uuid references app_user,
  team_id uuid references team,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
-- "C" so that prefixes are ranges and a page goes on where the last one ended; statements say it too.
create index customer_name_key on customer (name_key collate "C", id) where deleted_at is null;
create index customer_kana_key on customer (kana_key collate "C", id) where deleted_at is null;

create table customer_phone (
  id uuid primary key,
  customer_id uuid not null references customer,
  raw text not null check (length(raw) between 1 and 100),
  e164 text check (e164 ~ '^\+[1-9][0-9]{6,14}$'),
  extension text check (extension ~ '^[0-9]{1,10}$'),
  kind text not null default 'OTHER' check (kind in ('MOBILE', 'FIXED', 'TOLL_FREE', 'IP', 'OTHER')),
  valid_hint boolean not null default true,
  position integer not null default 0,
  note text not null default '' check (length(note) <= 200),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index customer_phone_customer on customer_phone (customer_id) where deleted_at is null;
create index customer_phone_e164 on customer_phone (e164) where deleted_at is null;
create index customer_phone_suffix on customer_phone (reverse(e164) collate "C", id) where deleted_at is null;

-- What two ways to write one address have in common: NFKC, lower case, no spaces, 丁目 番地 番 号 and dashes folded to one hyphen.
create function address_key(postal_code text, street text, building text) returns text language sql immutable parallel safe as $$
  select case when coalesce(postal_code, '') = '' or coalesce(street, '') = '' then null else
    postal_code || ':' || trim(both '-' from regexp_replace(regexp_replace(
      lower(normalize(street || ' ' || coalesce(building, ''), nfkc)), '丁目|番地の?|番|号室?|[‐‑‒–—―−ー－の\s]+', '-', 'g'), '-+', '-', 'g')) end
$$;

create table customer_address (
  id uuid primary key,
  customer_id uuid not null references customer,
  postal_code text check (postal_code ~ '^[0-9]{7}$'),
  prefecture text not null default '' check (length(prefecture) <= 20),
  city text not null default '' check (length(city) <= 100),
  town text not null default '' check (length(town) <= 200),
  street text not null default '' check (length(street) <= 200),
  building text not null default '' check (length(building) <= 200),
  address_key text generated always as (address_key(postal_code, town || ' ' || street, building)) stored,
  position integer not null default 0,
  note text not null default '' check (length(note) <= 200),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index customer_address_customer on customer_address (customer_id) where deleted_at is null;
create index customer_address_key on customer_address (address_key) where deleted_at is null;

create table customer_email (
  id uuid primary key,
  customer_id uuid not null references customer,
  email text not null check (email ~ '^[^@[:space:]]+@[^@[:space:]]+$' and length(email) <= 254),
  position integer not null default 0,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index customer_email_customer on customer_email (customer_id) where deleted_at is null;
create index customer_email_email on customer_email (lower(email)) where deleted_at is null;

-- Which towns a postal code may mean; filled from public data when the schema is made. One code may give several, in two prefectures even.
create table postal_town (
  postal_code text not null check (postal_code ~ '^[0-9]{7}$'),
  prefecture text not null,
  city text not null,
  town text not null,
  primary key (postal_code, prefecture, city, town)
);
revoke update on postal_town from enishi_app;

create trigger c_custom before insert or update of custom on customer for each row execute function check_custom('customer');
select make_business_table('media_source', 'master', 'media_source');
select make_business_table('item_category', 'master', 'item_category');
select make_business_table('custom_field', 'master', 'custom_field');
select make_business_table('customer', 'customer', 'customer');
select make_business_table('customer_phone', 'customer', 'customer_phone');
select make_business_table('customer_address', 'customer', 'customer_address');
select make_business_table('customer_email', 'customer', 'customer_email');
