-- Inquiries (反響): one lead each, with what the customer wants to sell and what was heard.

insert into transition (entity, from_state, to_state) values
  ('inquiry', 'NEW', 'IN_PROGRESS'), ('inquiry', 'NEW', 'NURTURING'), ('inquiry', 'NEW', 'APPOINTED'), ('inquiry', 'NEW', 'LOST'), ('inquiry', 'NEW', 'INVALID'),
  ('inquiry', 'IN_PROGRESS', 'NURTURING'), ('inquiry', 'NURTURING', 'IN_PROGRESS'),
  ('inquiry', 'IN_PROGRESS', 'APPOINTED'), ('inquiry', 'NURTURING', 'APPOINTED'),
  ('inquiry', 'APPOINTED', 'VISITED'), ('inquiry', 'APPOINTED', 'NURTURING'),
  ('inquiry', 'VISITED', 'CONTRACTED'), ('inquiry', 'VISITED', 'NO_DEAL'),
  ('inquiry', 'IN_PROGRESS', 'LOST'), ('inquiry', 'IN_PROGRESS', 'INVALID'), ('inquiry', 'NURTURING', 'LOST'), ('inquiry', 'NURTURING', 'INVALID'),
  ('inquiry', 'APPOINTED', 'LOST'), ('inquiry', 'APPOINTED', 'INVALID');

create table inquiry (
  id uuid primary key,
  customer_id uuid not null references customer,
  media_source_id uuid not null references media_source,
  channel text not null check (channel in ('PHONE', 'WEB', 'FILE', 'OTHER')),
  customer_initiated boolean not null default true,  -- the customer asked; a bought list or a campaign of ours did not
  external_ref text check (length(external_ref) between 1 and 200),  -- the lead's id at its source: a lead arrives once
  received_at timestamptz not null default now(),
  stage text not null default 'NEW' check (stage in ('NEW', 'IN_PROGRESS', 'NURTURING', 'APPOINTED', 'VISITED', 'CONTRACTED', 'NO_DEAL', 'LOST', 'INVALID')),
  lost_reason text check (length(lost_reason) between 1 and 200),
  invalid_reason text check (invalid_reason in ('duplicate', 'prank', 'out_of_area', 'excluded_goods')),
  next_action text check (next_action in ('CALL', 'CALLBACK', 'PRE_VISIT_CALL', 'NURTURE_CALL', 'VISIT', 'WAIT', 'NONE')),
  next_action_at timestamptz,
  notes text not null default '' check (length(notes) <= 10000),
  custom jsonb not null default '{}' check (jsonb_typeof(custom) = 'object'),
  owner_id uuid references app_user,
  team_id uuid references team,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  constraint lost_has_reason check (stage <> 'LOST' or lost_reason is not null),
  constraint invalid_has_reason check (stage <> 'INVALID' or invalid_reason is not null),
  constraint working_has_next_action check (stage not in ('IN_PROGRESS', 'NURTURING') or next_action is not null)
);
create unique index inquiry_external_ref on inquiry (media_source_id, external_ref) where external_ref is not null;
create index inquiry_customer on inquiry (customer_id, received_at desc, id desc) where deleted_at is null;
-- The work lists: what is due, by all, by team, by owner. The condition is repeated as literals in the statements that want them.
create index inquiry_due on inquiry (next_action_at, id) where stage in ('NEW', 'IN_PROGRESS', 'NURTURING') and next_action_at is not null and deleted_at is null;
create index inquiry_due_team on inquiry (team_id, next_action_at, id) where stage in ('NEW', 'IN_PROGRESS', 'NURTURING') and next_action_at is not null and deleted_at is null;
create index inquiry_due_owner on inquiry (owner_id, next_action_at, id) where stage in ('NEW', 'IN_PROGRESS', 'NURTURING') and next_action_at is not null and deleted_at is null;
create index inquiry_due_media on inquiry (media_source_id, next_action_at, id) where stage in ('NEW', 'IN_PROGRESS', 'NURTURING') and next_action_at is not null and deleted_at is null;
create index inquiry_received on inquiry (received_at desc, id desc) where deleted_at is null;
create index inquiry_received_team on inquiry (team_id, received_at desc, id desc) where deleted_at is null;
create index inquiry_received_owner on inquiry (owner_id, received_at desc, id desc) where deleted_at is null;
create index inquiry_received_stage on inquiry (stage, received_at desc, id desc) where deleted_at is null;

create table inquiry_item (
  id uuid primary key,
  inquiry_id uuid not null references inquiry,
  item_category_id uuid not null references item_category,
  description text not null default '' check (length(description) <= 1000),
  quantity integer check (quantity between 1 and 100000),
  position integer not null default 0,
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);
create index inquiry_item_inquiry on inquiry_item (inquiry_id) where deleted_at is null;

-- What was heard, in any order, saved while it is typed. `answers` is a flat object; field_versions says in which version each field last
-- changed, so that two tabs that write different fields merge, and two that write the same one are told, with both values.
create table hearing_sheet (
  inquiry_id uuid primary key references inquiry,
  customer_id uuid not null references customer,
  answers jsonb not null default '{}' check (jsonb_typeof(answers) = 'object' and length(answers::text) <= 100000),
  field_versions jsonb not null default '{}',
  version integer not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- A value that lost against another tab's: never overwritten, never thrown away. Append-only.
create table hearing_sheet_conflict (
  id uuid primary key default gen_random_uuid(),
  inquiry_id uuid not null references inquiry,
  customer_id uuid not null references customer,
  field text not null,
  base_version integer not null,            -- what the loser had seen
  kept jsonb,                               -- what stands in the sheet
  refused jsonb,                            -- what the loser wrote
  author_id uuid not null references app_user,
  created_at timestamptz not null default now()
);
create index hearing_sheet_conflict_inquiry on hearing_sheet_conflict (inquiry_id, created_at desc);
revoke update on hearing_sheet_conflict from enishi_app;

create trigger c_custom before insert or update of custom on inquiry for each row execute function check_custom('inquiry');
create trigger d_transition before update of stage on inquiry for each row execute function check_transition('inquiry', 'stage');
select make_business_table('inquiry', 'inquiry', 'inquiry');
select make_business_table('inquiry_item', 'inquiry', '');
select make_business_table('hearing_sheet', 'inquiry', 'hearing_sheet', 'inquiry_id');
select make_business_table('hearing_sheet_conflict', 'inquiry', '', 'id', false);
insert into erasure_place values ('hearing_sheet_conflict.kept, hearing_sheet_conflict.refused', 'set to null for the rows with the customer''s id');
