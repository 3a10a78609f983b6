-- Northwind's customers have one address, a telephone and a fax, and no place for more: what does not fit is refused.
insert into customers as c (customer_id, company_name, contact_name, contact_title, address, city, region, postal_code, country, phone, fax)
select coalesce($1, upper(right(translate($2 ->> 'id', '-', ''), 5))), $2 ->> 'display_name',
       nullif(split_part($2 ->> 'notes', E'\n', 1), ''), case when $2 ->> 'notes' like E'%\n%' then substr($2 ->> 'notes', strpos($2 ->> 'notes', E'\n') + 1) end,
       nullif($2 #>> '{addresses,0,street}', ''), nullif($2 #>> '{addresses,0,city}', ''), nullif($2 #>> '{addresses,0,town}', ''), nullif($2 #>> '{addresses,0,note}', ''),
       nullif($2 #>> '{addresses,0,prefecture}', ''),
       (select p ->> 'raw' from jsonb_array_elements($2 -> 'phones') p where p ->> 'note' <> 'Fax'),
       (select p ->> 'raw' from jsonb_array_elements($2 -> 'phones') p where p ->> 'note' = 'Fax')
 where not ($2 ->> 'deleted')::boolean
on conflict (customer_id) do update
   set company_name = excluded.company_name, contact_name = excluded.contact_name, contact_title = excluded.contact_title, address = excluded.address, city = excluded.city,
       region = excluded.region, postal_code = excluded.postal_code, country = excluded.country, phone = excluded.phone, fax = excluded.fax;

delete from customers where customer_id = $1 and ($2 ->> 'deleted')::boolean;

select coalesce($1, upper(right(translate($2 ->> 'id', '-', ''), 5)))
