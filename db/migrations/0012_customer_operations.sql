-- Customers, masters, history and events: what their operations read, and who may use them.

-- The newest of everything that happened with a customer, before (before, before_id). Every source gives its own newest in index order, so
-- the merge reads as many rows as it gives. One plain select: the planner puts it into the statement that asks.
create function customer_timeline(customer uuid, most integer, before timestamptz, before_id uuid)
returns table (kind text, id uuid, at timestamptz, state text, detail text, user_id uuid, appraiser_id uuid, media_source_id uuid, inquiry_id uuid, ended_at timestamptz, body text)
language sql stable as $$
  (select 'call', a.id, a.started_at as at, a.outcome, a.direction, a.operator_id, null::uuid, null::uuid, a.inquiry_id, a.ended_at, left(a.memo, 500)
     from public.call_attempt a where a.customer_id = customer and (a.started_at, a.id) < (before, before_id) order by a.started_at desc, a.id desc limit most)
  union all
  (select 'inquiry', i.id, i.received_at, i.stage, i.channel, i.owner_id, null, i.media_source_id, i.id, null, left(i.notes, 500)
     from public.inquiry i where i.customer_id = customer and i.deleted_at is null and (i.received_at, i.id) < (before, before_id) order by i.received_at desc, i.id desc limit most)
  union all
  (select 'appointment', v.id, v.starts_at, v.state, v.cancelled_by, null, v.appraiser_id, null, v.inquiry_id, v.ends_at, coalesce(v.cancel_reason, left(v.notes, 500))
     from public.appointment v where v.customer_id = customer and (v.starts_at, v.id) < (before, before_id) order by v.starts_at desc, v.id desc limit most)
  union all
  (select 'ban', b.id, b.banned_at, case when b.lifted_at is null then 'ACTIVE' else 'LIFTED' end, b.source, null, null, null, b.inquiry_id, b.lifted_at, b.reason
     from public.solicitation_ban b where b.customer_id = customer and (b.banned_at, b.id) < (before, before_id) order by b.banned_at desc, b.id desc limit most)
  order by at desc, 2 desc limit most
$$;

-- What active_ban() says, with the ban itself: `covers` tells whether the customer, a phone or an address is banned.
create function covering_ban(customer uuid)
returns table (id uuid, customer_id uuid, reason text, source text, banned_at timestamptz, covers text)
language sql stable as $$
  select b.id, b.customer_id, b.reason, b.source, b.banned_at, k.kind
    from public.solicitation_ban_key k join public.solicitation_ban b on b.id = k.ban_id
   where k.active and k.key = any (array[customer::text]
           || array(select p.e164 from public.customer_phone p where p.customer_id = customer and p.deleted_at is null and p.e164 is not null)
           || array(select a.address_key from public.customer_address a where a.customer_id = customer and a.deleted_at is null and a.address_key is not null))
   limit 1
$$;

-- Everything of one customer's history, for the record as of a moment and for erasure.
create index history_customer on history (customer_id, at desc, id desc) where customer_id is not null;

-- Item categories every purchase business starts with; the law for home-visit purchase applies to all of them.
insert into item_category (id, code, name_ja, name_en, position) values
  ('01900000-0000-7000-8000-00000c000001', 'kimono', '着物・帯', 'Kimono', 10),
  ('01900000-0000-7000-8000-00000c000002', 'jewellery', '宝石・貴金属', 'Jewellery and precious metals', 20),
  ('01900000-0000-7000-8000-00000c000003', 'watch', '時計', 'Watches', 30),
  ('01900000-0000-7000-8000-00000c000004', 'brand_bag', 'ブランドバッグ・財布', 'Brand bags and wallets', 40),
  ('01900000-0000-7000-8000-00000c000005', 'stamp', '切手・はがき', 'Stamps and postcards', 50),
  ('01900000-0000-7000-8000-00000c000006', 'coin', '古銭・記念硬貨', 'Coins', 60),
  ('01900000-0000-7000-8000-00000c000007', 'antique', '骨董品・美術品', 'Antiques and art', 70),
  ('01900000-0000-7000-8000-00000c000008', 'camera', 'カメラ・レンズ', 'Cameras and lenses', 80),
  ('01900000-0000-7000-8000-00000c000009', 'record', 'レコード・CD', 'Records and CDs', 90),
  ('01900000-0000-7000-8000-00000c00000a', 'instrument', '楽器・オーディオ', 'Instruments and audio', 100),
  ('01900000-0000-7000-8000-00000c00000b', 'liquor', 'お酒', 'Liquor', 110),
  ('01900000-0000-7000-8000-00000c00000c', 'fur', '毛皮・洋服', 'Furs and clothing', 120),
  ('01900000-0000-7000-8000-00000c00000d', 'tableware', '食器・茶道具', 'Tableware and tea utensils', 130),
  ('01900000-0000-7000-8000-00000c00000e', 'doll', '人形・おもちゃ', 'Dolls and toys', 140),
  ('01900000-0000-7000-8000-00000c00000f', 'gift_certificate', '金券・商品券', 'Gift certificates', 150),
  ('01900000-0000-7000-8000-00000c0000ff', 'other', 'その他', 'Other', 999);

-- Who may what ----------------------------------------------------------------------------------------------------------

select grant_operation('list_customers', 'operator:all supervisor:all marketing:all compliance:all appraiser:own admin:all');
select grant_operation('get_customer', 'operator:all supervisor:all marketing:all compliance:all appraiser:own admin:all');
select grant_operation('list_timeline', 'operator:all supervisor:all marketing:all compliance:all appraiser:own admin:all');
select grant_operation('screen_pop', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('create_customer', 'operator:all supervisor:all marketing:all compliance:all admin:all');
select grant_operation('update_customer', 'operator:all supervisor:all compliance:all admin:all');
select grant_operation('hide_customer', 'supervisor:all compliance:all admin:all');
select grant_operation(o, 'operator:all supervisor:all compliance:all admin:all') from unnest(array[
  'create_customer_phones', 'update_customer_phone', 'hide_customer_phone', 'create_customer_address', 'update_customer_address',
  'hide_customer_address', 'create_customer_email', 'update_customer_email', 'hide_customer_email']) o;
select grant_operation(o, 'operator:all supervisor:all marketing:all compliance:all appraiser:all admin:all') from unnest(array[
  'list_towns', 'list_media_sources', 'get_media_source', 'list_item_categories', 'get_item_category', 'list_custom_fields', 'get_custom_field']) o;
select grant_operation(o, 'marketing:all admin:all') from unnest(array['create_media_source', 'update_media_source', 'hide_media_source']) o;
select grant_operation(o, 'admin:all') from unnest(array['create_item_category', 'update_item_category', 'hide_item_category',
  'create_custom_field', 'update_custom_field', 'hide_custom_field']) o;
select grant_operation('list_history', 'supervisor:team compliance:all admin:all');
select grant_operation('get_record_as_of', 'supervisor:team compliance:all admin:all');
select grant_operation('stream_events', 'operator:team supervisor:team marketing:all compliance:all appraiser:own admin:all');
