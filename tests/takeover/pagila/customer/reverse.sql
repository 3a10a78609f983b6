-- City and country are the shop's own lists: an edit that changes them is refused by forward.sql reading something else. New customers register in a shop.
update customer c
   set first_name = split_part($2 ->> 'display_name', ' ', 1), last_name = substr($2 ->> 'display_name', strpos($2 ->> 'display_name', ' ') + 1),
       email = $2 #>> '{emails,0,email}', activebool = not ($2 ->> 'deleted')::boolean
 where c.customer_id = $1::integer;

update address a
   set address = $2 #>> '{addresses,0,street}', address2 = nullif($2 #>> '{addresses,0,building}', ''), district = $2 #>> '{addresses,0,town}',
       postal_code = nullif($2 #>> '{addresses,0,note}', ''), phone = coalesce($2 #>> '{phones,0,raw}', '')
  from customer c where c.customer_id = $1::integer and a.address_id = c.address_id;

select $1
