"""Amounts as people write them: currency codes and symbols, and brackets for less than nothing."""

_CODES = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD
KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF
XPF YER ZAR ZMW
"""
CURRENCIES = frozenset(_CODES.split())
_SYMBOLS = {
    "US$": "USD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD", "A$": "AUD", "C$": "CAD", "R$": "BRL",
    "S$": "SGD", "€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₺": "TRY", "₪": "ILS", "₴": "UAH",
    "₫": "VND", "ZŁ": "PLN", "KČ": "CZK", "FT": "HUF",
}  # fmt: skip
# A symbol of several: it means the business's own currency where that is one of them.
_SHARED = {
    "$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "CLP", "COP", "ARS", "TWD"),
    "¥": ("JPY", "CNY"),
    "KR": ("SEK", "NOK", "DKK", "ISK"),
    "KR.": ("SEK", "NOK", "DKK", "ISK"),
    "FR": ("CHF", "XOF", "XAF"),
    "FR.": ("CHF", "XOF", "XAF"),
}
_BARE = "[-+0-9.,eE%''\u2019\\s\u00a0\u202f]*"
_BETWEEN = "\\s\u00a0\u202f()+-"
_WORD = "[^-+0-9.,()\\s\u00a0\u202f]+"


def macros(business_currency: str) -> str:
    """SQL macros of a session: `bare_amount(x)`, the number alone, and `money_code(x)`, its currency.

    `bare_amount` is null when what stands beside the number names no currency. `money_code` is null when
    nothing stands there, and '?' when its symbol belongs to several currencies, none of them the business's.
    """
    shared = {s: business_currency if business_currency in codes else "?" for s, codes in _SHARED.items()}
    words = {code: code for code in _CODES.split()} | _SYMBOLS | shared
    pairs = ", ".join(f"'{word}': '{code}'" for word, code in words.items())
    return f"""
    create or replace temp macro money_word(x) as
        coalesce(
            nullif(regexp_extract(x, '^[{_BETWEEN}]*({_WORD})', 1), ''),
            nullif(regexp_extract(x, '({_WORD}\\.?)[{_BETWEEN}]*$', 1), '')
        );
    create or replace temp macro money_code(x) as
        case when not regexp_full_match(x, '{_BARE}') then map {{{pairs}}}[upper(money_word(x))] end;
    create or replace temp macro signed_amount(x) as
        clean(regexp_replace(regexp_replace(clean(x), '^\\((.*)\\)$', '-\\1'), '^(.*\\d)-$', '-\\1'));
    create or replace temp macro bare_amount(x) as
        case
            when regexp_full_match(x, '{_BARE}')
                then case when ends_with(x, '-') then regexp_replace(x, '^(.*\\d)-$', '-\\1') else x end
            when money_word(x) is null then signed_amount(x)
            when money_code(x) is not null then signed_amount(replace(x, money_word(x), ''))
        end;
    """
