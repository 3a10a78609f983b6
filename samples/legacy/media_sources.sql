-- What 受付's inquiries came through, under the codes that samples/legacy/uketsuke/inquiry maps to. Run in Enishi's database as its owner, before that domain is mirrored.
insert into media_source (id, code, name, position) values
  (new_id(), 'web', '自社サイト', 10), (new_id(), 'search', '検索広告', 20), (new_id(), 'flyer', '折込チラシ', 30), (new_id(), 'tv', 'テレビCM', 40),
  (new_id(), 'magazine', '雑誌広告', 50), (new_id(), 'referral', '紹介', 60), (new_id(), 'phone_book', '電話帳', 70)
on conflict (code) where deleted_at is null do nothing;
