"""What does a field's name say about its value?

`KIND_OF` maps words of names, in snake case, to the kinds of `kinds.py`; the longest end of a name that stands there
wins, so that `billing_email` is an e-mail address.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_TABLE = """
full_name: full_name, ceo, founder, contact_full_name, person_name, display_name, contact_name, customer_name,
  client_name, patient_name, employee_name, author, author_name, owner, owner_name, student_name, guest_name,
  manager_name, buyer_name, seller_name, recipient_name, recipient, sender_name, cardholder, cardholder_name,
  card_holder, account_holder, assignee, reviewer, reviewer_name, reporter, contact_person, agent_name, doctor_name,
  member_name, teacher_name, host_name_full, artist, director, passenger_name, emergency_contact, fullname,
  driver_name, user_full_name, legal_name, assigned_to, created_by, updated_by, manager, supervisor
first_name: first_name, firstname, given_name, forename, given_names, fname, preferred_name
last_name: last_name, lastname, surname, family_name, lname, maiden_name
middle_name: middle_name, middlename
username: username, user_name, login, login_name, handle, nickname, nick, screen_name, account_name
email: email, e_mail, mail, email_address, mail_address, contact_email
phone: phone, phone_number, telephone, tel, mobile, mobile_number, mobile_phone, cell, cell_phone, fax, fax_number,
  contact_number, cellphone, telephone_number
company: company, company_name, employer, organisation, organization, organisation_name, organization_name,
  business_name, vendor, vendor_name, supplier, supplier_name, manufacturer, brand, brand_name, firm, merchant,
  merchant_name, publisher, carrier, client
company_domain: domain, domain_name, hostname, host, host_name
occupation: job, job_title, occupation, profession, position, role_title, job_name
honorific: salutation, honorific, name_prefix, courtesy_title
street: street, street_address, street_name, address_line, address_line1, address_line_1, address1, line1, street1,
  addr
unit: address_line2, address_line_2, address2, line2, apartment, unit_number, suite
street_number: house_number, street_number, building_number
full_address: address, full_address, postal_address, mailing_address, shipping_address, billing_address, home_address,
  location_address
city: city, headquarters, headquarter, town, municipality, city_name, locality, birthplace, place_of_birth, hometown,
  location, origin, destination, venue_city
region: state, region, province, county, state_name, region_name, state_or_province, prefecture
region_code: state_code, region_code, province_code, state_abbr
postcode: postcode, post_code, postal_code, zip, zip_code, zipcode, plz, postalcode
country: country, country_name, nation, country_of_origin, birth_country
country_code: country_code, country_iso, iso_country, country_iso2, country_code2, iso_country_code
country_code3: country_iso3, country_code3, iso3
currency: currency, currency_code, iso_currency
timezone: timezone, time_zone, tz
language: language, native_language, spoken_language, preferred_language, mother_tongue
language_code: language_code, lang, lang_code
locale: locale
nationality: nationality, citizenship
university: university, school, college, alma_mater, institution
bank: bank, bank_name
gender: gender, sex
url: url, website, web_site, homepage, link, site, web, web_page, href, profile_url, website_url, uri, permalink
ip: ip, ip_address, ipv4, ip_addr, remote_addr, client_ip, source_ip, ipv4_address
ipv6: ipv6, ipv6_address
mac: mac, mac_address
user_agent: user_agent, useragent, browser_agent
image: image, image_url, avatar, avatar_url, photo, photo_url, picture, picture_url, thumbnail, thumbnail_url, logo,
  logo_url, icon_url
password: password, passwd, secret
token: token, access_token, api_key, hash, checksum, digest, sha1, session_token, commit, refresh_token
uuid: id, uuid, guid, uid, identifier, key
order_number: order_number, order_no, order_ref, order_code, order_reference
invoice_number: invoice_number, invoice_no, invoice_ref
code: code, reference, reference_number, ref, serial_number, tracking_number, confirmation_code, booking_reference,
  coupon_code, promo_code, voucher, tracking_code, model_number, account_number, customer_number, employee_number,
  ticket_number, part_number
sku: sku, sku_code, product_code, item_code, article_number, stock_keeping_unit
barcode: barcode, ean, upc, gtin
licence_plate: license_plate, licence_plate, plate, plate_number, registration_number
version: version, release, app_version, firmware
iban: iban, bank_account
card: credit_card, credit_card_number, card_number, creditcard, pan, cc_number
card_expiry: card_expiry, expiry_month, card_expiration
cvv: cvv, cvc, security_code
ssn: ssn, social_security_number, national_id, tax_id
payment_method: payment_method, payment_type, pay_method
colour: color, colour, color_name, colour_name
hex_colour: hex_color, hex_colour, color_hex, colour_hex, color_code, colour_code
product: product, product_name, item, item_name, article_name, product_title, item_title, part_name
category: category, product_category, category_name, kind_of_product, product_type
industry: industry, sector, line_of_business
department: department, dept, division, team
status: status, order_status, account_status, payment_status, state_of_order
priority: priority, urgency, severity
sentiment: sentiment, mood
tag: tag, tags, keyword, keywords, label, labels, topic, topics, hashtag
hobby: hobby, hobbies, interest, interests
dish: dish, meal, recipe_name, menu_item
size: size, shirt_size, clothing_size
weekday: weekday, day_of_week
month: month, month_name
file_name: file, file_name, filename, attachment, document_name
mime_type: mime_type, content_type, media_type, mimetype
slug: slug, permalink_slug
label: plan_name, team_name, group_name, project_name, event_name, campaign_name, display_label, subject_name,
  project, event, course, course_name, feature, feature_name, class_name, room, building, ship_name, pet_name,
  list_name, channel
headline: title, instruction, prompt, headline, subject, subject_line, post_title, book_title, article_title, caption,
  heading, slogan, tagline, movie_title, task, task_name, summary_line
description: description, plot, context, premise, desc, summary, product_description, abstract, details, overview,
  about_product, short_description, synopsis
review: review, comment, feedback, review_text, testimonial, comments, review_body, opinion, remark, reply, message,
  message_body
note: note, notes, remarks, internal_note, memo, annotation, instructions, reason, delivery_instructions, resolution
biography: bio, biography, about, about_me, profile, profile_text, self_description
article: body, answer, response, completion_text, output, content, text, article, article_body, paragraph, post,
  transcript, story, message_text
created: created, created_at, created_on, creation_date, date_created, signup_date, signed_up_at, registered_at,
  registration_date, joined_at, join_date, inserted_at, member_since, order_date, ordered_at, purchased_at,
  purchase_date, published_at, issued_at, customer_since, opened_at, invoice_date, issue_date, creation_time
updated: updated, updated_at, updated_on, modified, modified_at, last_modified, last_login, last_login_at, last_seen,
  last_seen_at, date_modified, last_updated, changed_at, last_purchase_at, shipped_at, delivered_at, delivery_date,
  ship_date, closed_at, paid_at, last_active_at, resolved_at, completed_at, deleted_at, last_order_at
start: start, admitted_at, admission_date, start_date, start_at, starts_at, start_time, begin, begins_at, from_date,
  valid_from, check_in, departure, departure_time, hire_date, hired_at, begin_date
end: end, discharged_at, discharge_date, end_date, end_at, ends_at, end_time, finish, finished_at, to_date, until,
  check_out, arrival, arrival_time, termination_date
birth: birth_date, birthdate, date_of_birth, dob, birthday, born, born_on
future: expires_at, expiry, expiry_date, expiration_date, valid_until, due_date, due_at, deadline, renewal_date,
  expires, expires_on
price: price, unit_price, cost, unit_cost, list_price, sale_price, price_usd, fare, fee, rate, shipping_cost,
  price_eur
money: amount, total, total_amount, subtotal, sum, balance, revenue, budget, total_price, grand_total, spend, spent,
  monthly_spend, monthly_spend_usd, total_spent, amount_usd, total_usd, spend_usd, income_monthly, payment, credit,
  credit_limit, invoice_total, value, tax, discount_amount, lifetime_value, total_spend
salary: salary, annual_salary, income, annual_income, wage, wages
quantity: quantity, qty, units, amount_of_items, pieces
count: count, stock, inventory, views, likes, followers, num, number_of_reviews, visits, clicks, stock_quantity,
  points, number_of_orders, downloads, shares, orders, order_count, total_orders, review_count, loyalty_points
rating: rating, stars, star_rating, review_score, average_rating
score: score, grade, points_percent, test_score
fraction: probability, ratio, confidence, likelihood, tax_rate, discount_rate, conversion_rate
percent: percent, percentage, pct, discount, discount_percent, completion, humidity, progress
age: age, age_years
birth_year: birth_year, year_of_birth
year: year, founded, founded_year, year_founded, release_year, graduation_year, model_year, publication_year
day: day
hour: hour
minutes: minutes, duration_minutes, duration_min, duration, runtime
seconds: seconds, duration_seconds, elapsed, latency
serial: number, index, serial, position_number, sequence, no
weight: weight, weight_kg, mass
height: height, height_cm
length: length, width, depth, length_cm, width_cm, depth_cm, thickness
temperature: temperature, temp, temperature_c, temperature_celsius
distance: distance, distance_km, mileage, kilometers, kilometres, miles
bytes: bytes, file_size, size_bytes
port: port
employees: employees, employee_count, number_of_employees, headcount, company_size
unix_time: timestamp_unix, unix_time, epoch, created_ts
floor: floor, bedrooms, bathrooms, rooms, floors
question: question, query, user_question
skill: skill, skills, competence, expertise, qualification
difficulty: difficulty, difficulty_level
blood_type: blood_type, blood_group
diagnosis: diagnosis, condition, disease
genre: genre, film_genre, music_genre
http_path: path, request_path, endpoint, route
log_message: log_message, log
http_status: status_code, http_status, response_code
latitude: latitude, lat
longitude: longitude, lng, lon, long
"""


def _read(table: str) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for line in re.sub(r",\n\s+", ", ", table.strip()).splitlines():
        kind, _, names = line.partition(": ")
        for name in names.split(", "):
            kinds.setdefault(name, kind)
    return kinds


KIND_OF = _read(_TABLE)

PEOPLE = frozenset(
    "person user customer client patient employee contact author owner student guest member subscriber buyer"
    " seller recipient sender passenger driver teacher doctor agent manager supervisor spouse partner parent"
    " mother father child sibling friend applicant candidate profile people worker tenant reviewer actor player".split()
)
OTHER_PEOPLE = frozenset(
    "manager supervisor spouse partner parent mother father child sibling friend referrer referee reviewer"
    " emergency seller assignee reporter recipient sender sister brother guardian beneficiary".split()
)
"""A nested object of such a name is about somebody else than its parent is."""
PRODUCTS = frozenset("product item article good part sku line catalog inventory offer".split())
COMPANIES = frozenset(
    "company organisation organization employer business vendor supplier manufacturer brand firm publisher".split()
)
WORKS = frozenset(
    "post article book movie film blog event course task ticket issue song album project paper document page".split()
)
NAME_FIELDS = frozenset("name first_name full_name given_name".split())
_PERSON_FIELDS = frozenset(
    "first_name last_name full_name email age birth_date date_of_birth gender phone username".split()
)
_PRODUCT_FIELDS = frozenset("price sku unit_price stock brand category in_stock".split())
_COMPANY_FIELDS = frozenset("industry founded employees employee_count founded_year headquarters".split())
_DESCRIBED = (
    ("e-mail", "email"), ("email address", "email"), ("phone number", "phone"), ("telephone", "phone"),
    ("postal code", "postcode"), ("full name", "full_name"), ("first name", "first_name"), ("last name", "last_name"),
    ("family name", "last_name"), ("country code", "country_code"), ("currency code", "currency"),
    ("job title", "occupation"), ("web address", "url"), ("date of birth", "birth"), ("iban", "iban"),
    ("company name", "company"),
)  # fmt: skip


class Hint(NamedTuple):
    """What is known of a value beside its schema: its name, the kind of object around it, and what is said of it."""

    name: str = ""
    subject: str = ""  # "person", "product", "company", "work" or ""
    said: str = ""
    named: bool = False  # the objects around it name a person already


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in snake, kebab or camel case, in small letters."""
    spaced = re.sub(r"([a-z0-9])([A-Z])|([A-Z]+)([A-Z][a-z])", lambda m: f"{m[1] or m[3]} {m[2] or m[4]}", name)
    return tuple(re.findall(r"[^\W_]+", spaced.lower()))


def singular(word: str) -> str:
    """A noun without its plural ending, good enough to look it up."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word


def subject_of(name: str, fields: tuple[str, ...]) -> str:
    """What an object of this name with these fields is about."""
    last = {singular(word) for word in words_of(name)}
    known = {"_".join(words_of(field)) for field in fields}
    for subject, words, signs in (
        ("product", PRODUCTS, _PRODUCT_FIELDS),
        ("company", COMPANIES, _COMPANY_FIELDS),
        ("person", PEOPLE, _PERSON_FIELDS),
    ):
        if last & words and not (subject != "person" and known & {"first_name", "last_name"}):
            return subject
        if known & signs and not (subject != "person" and known & _PERSON_FIELDS):
            return subject
    return "work" if last & WORKS else ""


@lru_cache(maxsize=4096)
def kind_of(hint: Hint) -> str | None:
    """The kind that a field's name, or else its description, stands for; None when neither says anything."""
    words = words_of(hint.name)
    if (special := _by_subject("_".join(words), hint.subject)) is not None:
        return special
    for start in range(len(words)):
        end = "_".join(words[start:])
        found = KIND_OF.get(end) or KIND_OF.get(singular(end))
        if found is not None:
            return found
    if words and words[-1] == "name":
        return "full_name" if PEOPLE.intersection(words) else "label"
    if words and words[-1] in ("at", "on", "date", "datetime", "timestamp", "time"):
        return None
    said = hint.said.lower()
    return next((kind for phrase, kind in _DESCRIBED if phrase in said), None)


def _by_subject(name: str, subject: str) -> str | None:
    if name == "name":
        named = {"product": "product", "company": "company", "work": "headline", "person": "full_name"}
        return named.get(subject, "full_name")
    if name == "title" and subject == "person":
        return "occupation"
    if name in ("weight", "weight_kg") and subject == "person":
        return "body_weight"
    if name in ("temperature", "body_temperature", "temp") and subject == "person":
        return "body_temperature"
    if name in ("client", "owner") and subject == "person":
        return "company" if name == "client" else None
    return None
