update "Customer" c
   set "FirstName" = split_part($2 ->> 'display_name', ' ', 1), "LastName" = substr($2 ->> 'display_name', strpos($2 ->> 'display_name', ' ') + 1),
       "Company" = nullif($2 ->> 'notes', ''), "Email" = $2 #>> '{emails,0,email}', "Address" = nullif($2 #>> '{addresses,0,street}', ''),
       "City" = nullif($2 #>> '{addresses,0,city}', ''), "State" = nullif($2 #>> '{addresses,0,town}', ''), "Country" = nullif($2 #>> '{addresses,0,prefecture}', ''),
       "PostalCode" = nullif($2 #>> '{addresses,0,note}', ''),
       "Phone" = (select p ->> 'raw' from jsonb_array_elements($2 -> 'phones') p where coalesce(p ->> 'note', '') <> 'Fax'),
       "Fax" = (select p ->> 'raw' from jsonb_array_elements($2 -> 'phones') p where p ->> 'note' = 'Fax')
 where c."CustomerId" = $1::integer;

select $1
