"""Which cities are there, and what belongs to each?

A city comes with its region, country, position and the forms of its postcodes and telephone numbers, so that an address
hangs together.  In a mask `#` is a digit and `@` a capital letter.
"""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """`language` chooses the names of people and streets, `street` is how number and street are written."""

    name: str
    code: str
    code3: str
    language: str
    currency: str
    timezone: str
    tongue: str
    locale: str
    street: str
    domain: str


class Place(NamedTuple):
    """One city."""

    city: str
    region: str
    region_code: str
    country: Country
    postcode: str
    phone: str
    latitude: float
    longitude: float


_COUNTRIES = {
    country.code: country
    for country in (
        Country("United States", "US", "USA", "en", "USD", "America/New_York", "English", "en-US", "{n} {s}", "com"),
        Country("United Kingdom", "GB", "GBR", "en-gb", "GBP", "Europe/London", "English", "en-GB", "{n} {s}", "co.uk"),
        Country("Canada", "CA", "CAN", "en", "CAD", "America/Toronto", "English", "en-CA", "{n} {s}", "ca"),
        Country("Australia", "AU", "AUS", "en", "AUD", "Australia/Sydney", "English", "en-AU", "{n} {s}", "com.au"),
        Country("Germany", "DE", "DEU", "de", "EUR", "Europe/Berlin", "German", "de-DE", "{s} {n}", "de"),
        Country("France", "FR", "FRA", "fr", "EUR", "Europe/Paris", "French", "fr-FR", "{n} {s}", "fr"),
        Country("Spain", "ES", "ESP", "es", "EUR", "Europe/Madrid", "Spanish", "es-ES", "{s}, {n}", "es"),
        Country("Italy", "IT", "ITA", "it", "EUR", "Europe/Rome", "Italian", "it-IT", "{s}, {n}", "it"),
        Country("Netherlands", "NL", "NLD", "nl", "EUR", "Europe/Amsterdam", "Dutch", "nl-NL", "{s} {n}", "nl"),
    )
}

# city, region, region code, country, postcode, telephone, latitude, longitude
_ROWS = """
New York|New York|NY|US|100##|+1-212-###-####|40.7128|-74.0060
Buffalo|New York|NY|US|142##|+1-716-###-####|42.8864|-78.8784
Los Angeles|California|CA|US|900##|+1-213-###-####|34.0522|-118.2437
San Diego|California|CA|US|921##|+1-619-###-####|32.7157|-117.1611
San Jose|California|CA|US|951##|+1-408-###-####|37.3382|-121.8863
Sacramento|California|CA|US|958##|+1-916-###-####|38.5816|-121.4944
Chicago|Illinois|IL|US|606##|+1-312-###-####|41.8781|-87.6298
Houston|Texas|TX|US|770##|+1-713-###-####|29.7604|-95.3698
Austin|Texas|TX|US|787##|+1-512-###-####|30.2672|-97.7431
Dallas|Texas|TX|US|752##|+1-214-###-####|32.7767|-96.7970
Phoenix|Arizona|AZ|US|850##|+1-602-###-####|33.4484|-112.0740
Philadelphia|Pennsylvania|PA|US|191##|+1-215-###-####|39.9526|-75.1652
Pittsburgh|Pennsylvania|PA|US|152##|+1-412-###-####|40.4406|-79.9959
Columbus|Ohio|OH|US|432##|+1-614-###-####|39.9612|-82.9988
Cleveland|Ohio|OH|US|441##|+1-216-###-####|41.4993|-81.6944
Seattle|Washington|WA|US|981##|+1-206-###-####|47.6062|-122.3321
Denver|Colorado|CO|US|802##|+1-303-###-####|39.7392|-104.9903
Boston|Massachusetts|MA|US|021##|+1-617-###-####|42.3601|-71.0589
Nashville|Tennessee|TN|US|372##|+1-615-###-####|36.1627|-86.7816
Portland|Oregon|OR|US|972##|+1-503-###-####|45.5152|-122.6784
Atlanta|Georgia|GA|US|303##|+1-404-###-####|33.7490|-84.3880
Miami|Florida|FL|US|331##|+1-305-###-####|25.7617|-80.1918
Tampa|Florida|FL|US|336##|+1-813-###-####|27.9506|-82.4572
Minneapolis|Minnesota|MN|US|554##|+1-612-###-####|44.9778|-93.2650
Detroit|Michigan|MI|US|482##|+1-313-###-####|42.3314|-83.0458
Charlotte|North Carolina|NC|US|282##|+1-704-###-####|35.2271|-80.8431
Salt Lake City|Utah|UT|US|841##|+1-801-###-####|40.7608|-111.8910
London|England|ENG|GB|SW1# #@@|+44 20 7### ####|51.5074|-0.1278
Manchester|England|ENG|GB|M## #@@|+44 161 ### ####|53.4808|-2.2426
Birmingham|England|ENG|GB|B## #@@|+44 121 ### ####|52.4862|-1.8904
Leeds|England|ENG|GB|LS## #@@|+44 113 ### ####|53.8008|-1.5491
Bristol|England|ENG|GB|BS# #@@|+44 117 ### ####|51.4545|-2.5879
Edinburgh|Scotland|SCT|GB|EH# #@@|+44 131 ### ####|55.9533|-3.1883
Glasgow|Scotland|SCT|GB|G## #@@|+44 141 ### ####|55.8642|-4.2518
Cardiff|Wales|WLS|GB|CF## #@@|+44 29 2### ####|51.4816|-3.1791
Toronto|Ontario|ON|CA|M#@ #@#|+1-416-###-####|43.6532|-79.3832
Ottawa|Ontario|ON|CA|K#@ #@#|+1-613-###-####|45.4215|-75.6972
Vancouver|British Columbia|BC|CA|V#@ #@#|+1-604-###-####|49.2827|-123.1207
Calgary|Alberta|AB|CA|T#@ #@#|+1-403-###-####|51.0447|-114.0719
Sydney|New South Wales|NSW|AU|20##|+61 2 9### ####|-33.8688|151.2093
Melbourne|Victoria|VIC|AU|30##|+61 3 9### ####|-37.8136|144.9631
Brisbane|Queensland|QLD|AU|40##|+61 7 3### ####|-27.4698|153.0251
Berlin|Berlin|BE|DE|10###|+49 30 #######|52.5200|13.4050
Hamburg|Hamburg|HH|DE|20###|+49 40 #######|53.5511|9.9937
Munich|Bavaria|BY|DE|80###|+49 89 #######|48.1351|11.5820
Cologne|North Rhine-Westphalia|NW|DE|50###|+49 221 ######|50.9375|6.9603
Leipzig|Saxony|SN|DE|04###|+49 341 ######|51.3397|12.3731
Paris|Île-de-France|IDF|FR|750##|+33 1 ## ## ## ##|48.8566|2.3522
Lyon|Auvergne-Rhône-Alpes|ARA|FR|690##|+33 4 ## ## ## ##|45.7640|4.8357
Toulouse|Occitanie|OCC|FR|310##|+33 5 ## ## ## ##|43.6047|1.4442
Nantes|Pays de la Loire|PDL|FR|440##|+33 2 ## ## ## ##|47.2184|-1.5536
Madrid|Community of Madrid|MD|ES|280##|+34 91# ### ###|40.4168|-3.7038
Barcelona|Catalonia|CT|ES|080##|+34 93# ### ###|41.3874|2.1686
Valencia|Valencian Community|VC|ES|460##|+34 96# ### ###|39.4699|-0.3763
Rome|Lazio|LAZ|IT|001##|+39 06 ### ####|41.9028|12.4964
Milan|Lombardy|LOM|IT|201##|+39 02 ### ####|45.4642|9.1900
Turin|Piedmont|PIE|IT|101##|+39 011 ### ###|45.0703|7.6869
Amsterdam|North Holland|NH|NL|10## @@|+31 20 ### ####|52.3676|4.9041
Rotterdam|South Holland|ZH|NL|30## @@|+31 10 ### ####|51.9244|4.4777
Utrecht|Utrecht|UT|NL|35## @@|+31 30 ### ####|52.0907|5.1214
"""


def _place(row: str) -> Place:
    city, region, region_code, country, postcode, phone, latitude, longitude = row.split("|")
    return Place(city, region, region_code, _COUNTRIES[country], postcode, phone, float(latitude), float(longitude))


PLACES: tuple[Place, ...] = tuple(_place(row) for row in _ROWS.strip().splitlines())
