select c.customer_id::text as key,
       jsonb_build_object(
         'display_name', c.first_name || ' ' || c.last_name,
         'emails', case when c.email is null then '[]' else jsonb_build_array(jsonb_build_object('key', '1', 'email', c.email)) end,
         'phones', case when a.phone = '' then '[]' else jsonb_build_array(jsonb_build_object('key', '1', 'raw', a.phone)) end,
         'addresses', jsonb_build_array(jsonb_build_object('key', '1', 'prefecture', left(y.country, 20), 'city', t.city, 'town', a.district, 'street', a.address,
                                                           'building', coalesce(a.address2, ''), 'note', coalesce(a.postal_code, ''))),
         'deleted', not c.activebool) as record,
       null::jsonb as links
  from customer c
  join address a using (address_id)
  join city t using (city_id)
  join country y using (country_id)
 where c.customer_id = any ($1::integer[])
