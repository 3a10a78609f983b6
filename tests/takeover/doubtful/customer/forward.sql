select c.id::text as key,
       jsonb_build_object('display_name', c.name, 'birth_date', c.born, 'notes', concat_ws(' ', c.rating, c.balance, c.seen_at, c.picture),
         'custom', coalesce(c.extra, '{}'),
         'phones', (select coalesce(jsonb_agg(jsonb_build_object('raw', p.number) order by p.number), '[]') from phones p where p.customer_id = c.id)) as record,
       null::jsonb as links
  from customers c
 where c.id = any ($1::integer[])
