-- Teams, users, roles as data, sessions, tokens.

create table team (
  id uuid primary key,
  name text not null check (length(name) between 1 and 100),
  parent_id uuid references team,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index team_name on team (name) where deleted_at is null;

-- Below and including `top`.
create function team_subtree(top uuid) returns uuid[] language sql stable as $$
  with recursive tree as (
    select t.id from public.team t where t.id = top
    union select t.id from public.team t join tree on t.parent_id = tree.id)
  select coalesce(array_agg(id), '{}') from tree
$$;

create table app_user (
  id uuid primary key,
  login text not null check (login ~ '^[A-Za-z0-9._@+-]{2,100}$'),
  display_name text not null check (length(display_name) between 1 and 200),
  team_id uuid references team,
  active boolean not null default true,
  locale text not null default 'ja' check (locale in ('ja', 'en')),
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create unique index app_user_login on app_user (lower(login)) where deleted_at is null;

-- Apart from app_user, so that it reaches neither history nor the read-only role.
create table user_credential (
  user_id uuid primary key references app_user,
  password_hash text not null,              -- Argon2id, libsodium's string
  changed_at timestamptz not null default now()
);

create table role (
  name text primary key check (name ~ '^[a-z_]{2,40}$'),
  label_ja text not null,
  label_en text not null
);
insert into role values
  ('operator', 'オペレーター', 'Operator'), ('supervisor', 'スーパーバイザー', 'Supervisor'), ('marketing', 'マーケティング', 'Marketing'),
  ('compliance', 'コンプライアンス', 'Compliance'), ('appraiser', '査定員', 'Appraiser'), ('admin', '管理者', 'Administrator');

-- operation is an operationId of the contract; scope says on whose records. `id` is there for history.
create table role_permission (
  id uuid not null default gen_random_uuid(),
  role text not null references role,
  operation text not null,
  scope text not null check (scope in ('own', 'team', 'all')),
  primary key (role, operation)
);

create table user_role (
  user_id uuid not null references app_user,
  role text not null references role,
  primary key (user_id, role)
);

-- One statement of grants: `grant_operation('list_inquiries', 'operator:own supervisor:team admin:all')`.
create function grant_operation(operation text, grants text) returns void language sql as $$
  insert into public.role_permission (role, operation, scope)
  select split_part(g, ':', 1), operation, split_part(g, ':', 2) from regexp_split_to_table(trim(grants), '\s+') g
$$;

-- Tokens are stored as sha256 of what the client holds, which has 256 random bits.
create table session (
  token_hash bytea primary key,
  id uuid not null unique,
  user_id uuid not null references app_user,
  csrf_token text not null,
  created_at timestamptz not null default now(),
  last_seen_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  remote text not null default '',
  user_agent text not null default ''
);
create index session_user_id on session (user_id) where revoked_at is null;

create table api_token (
  id uuid primary key,
  user_id uuid not null references app_user,
  name text not null check (length(name) between 1 and 100),
  token_hash bytea not null unique,
  scopes text[] not null,                   -- operationIds, or '*' for all the user may
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  last_used_at timestamptz,
  revoked_at timestamptz
);

create table one_time_link (
  token_hash bytea primary key,
  user_id uuid not null references app_user,
  purpose text not null check (purpose in ('set_password')),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz
);

-- Failed logins, by login and by address: exponential waiting.
create table login_throttle (
  key text primary key,
  failures integer not null,
  last_failure_at timestamptz not null,
  blocked_until timestamptz not null
);

select make_business_table('team', 'master', 'team');
select make_business_table('app_user', 'master', 'app_user');
select make_business_table('user_role', 'master', '', 'user_id', false);
select make_business_table('role_permission', 'master', '', 'id', false);

revoke all on user_credential, session, api_token, one_time_link, login_throttle from enishi_read;
grant delete on user_role, role_permission, session, one_time_link, login_throttle to enishi_app;
