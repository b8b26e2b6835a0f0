"""BCP 47 tags from what sources state: tags, ISO 639 codes of three letters, English names."""

import re

# tag, codes of three letters, English names
_TABLE = """
af afr Afrikaans; am amh Amharic; ar ara,arb,arz,ary,acm,apc,ajp,acq,aeb,ars Arabic; az aze,azj Azerbaijani; be bel Belarusian;
bg bul Bulgarian; bn ben Bengali; bs bos Bosnian; ca cat Catalan; ceb ceb Cebuano; cs ces Czech; cy cym Welsh; da dan Danish;
de deu German; el ell Greek; en eng English; eo epo Esperanto; es spa Spanish; et est Estonian; eu eus Basque; fa fas,pes Persian;
fi fin Finnish; fil fil,tgl Filipino,Tagalog; fr fra French; ga gle Irish; gl glg Galician; gu guj Gujarati; ha hau Hausa;
he heb Hebrew; hi hin Hindi; hr hrv Croatian; ht hat Haitian; hu hun Hungarian; hy hye Armenian; id ind Indonesian; ig ibo Igbo;
is isl Icelandic; it ita Italian; ja jpn Japanese; jv jav Javanese; ka kat Georgian; kk kaz Kazakh; km khm Khmer; kn kan Kannada;
ko kor Korean; ku kur,kmr Kurdish; ky kir Kyrgyz; la lat Latin; lo lao Lao; lt lit Lithuanian; lv lav,lvs Latvian;
mg mlg,plt Malagasy; mi mri Maori; mk mkd Macedonian; ml mal Malayalam; mn mon,khk Mongolian; mr mar Marathi; ms msa,zsm Malay;
mt mlt Maltese; my mya Burmese; ne nep,npi Nepali; nl nld Dutch; nn nno Nynorsk; nb nob Bokmal; no nor Norwegian; ny nya Nyanja,Chichewa; pa pan Punjabi;
pl pol Polish; ps pus,pbt Pashto; pt por Portuguese; ro ron Romanian; ru rus Russian; rw kin Kinyarwanda; sd snd Sindhi;
si sin Sinhala; sk slk Slovak; sl slv Slovenian,Slovene; sn sna Shona; so som Somali; sq sqi,als Albanian; sr srp Serbian;
st sot Sotho; su sun Sundanese; sv swe Swedish; sw swa,swh Swahili; ta tam Tamil; te tel Telugu; tg tgk Tajik; th tha Thai;
tn tsn Tswana; tr tur Turkish; ts tso Tsonga; uk ukr Ukrainian; ur urd Urdu; uz uzb,uzn Uzbek; vi vie Vietnamese; wo wol Wolof; xh xho Xhosa;
yi yid Yiddish; yo yor Yoruba; yue yue Cantonese; zh zho,cmn Chinese; zu zul Zulu
"""
_TAGS: dict[str, str] = {}
for _entry in _TABLE.split(";"):
    _tag, _codes, _names = _entry.split()
    _TAGS |= {word.lower(): _tag for word in (_tag, *_codes.split(","), *_names.split(","))}
_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def tag(stated: str | None) -> str | None:
    """The BCP 47 tag of a stated language; None where it is not recognised."""
    if not stated:
        return None
    known = _TAGS.get(stated.strip().lower())
    return known or (stated if _TAG.fullmatch(stated) else None)
