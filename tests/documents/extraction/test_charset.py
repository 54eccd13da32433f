"""From bytes to text: nothing raises, a mark beats a declaration, a declaration must fit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from documents.extraction.charset import decode, known


@settings(deadline=None)  # the first call loads codecs, on a machine with other work
@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "big5", "nonsense", "utf-16", "base64", "\0"]))
def test_any_bytes_become_text_without_error(data: bytes, declared: str) -> None:
    assert isinstance(decode(data, declared=declared).text, str)


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_utf8_is_read_as_itself(text: str) -> None:
    decoded = decode(text.encode())
    assert decoded.text == text.removeprefix("\ufeff")
    assert not decoded.guessed


def test_a_declaration_that_fits_is_used() -> None:
    assert decode("日本語".encode("euc_jp"), declared="euc-jp").text == "日本語"
    assert decode("Größe €".encode("cp1252"), declared="iso-8859-1").text == "Größe €"


def test_a_few_bad_bytes_do_not_refute_a_declaration() -> None:
    data = ("中文測試內容" * 40).encode("big5") + b"\xff"
    assert decode(data, declared="big5").text.startswith("中文測試內容")


def test_a_declaration_that_does_not_fit_is_ignored() -> None:
    assert decode("Привет, мир. Это обычный русский текст.".encode("cp1251"), declared="ascii2").guessed


# ruff: noqa: RUF001  # other alphabets are the point
SENTENCES: dict[str, tuple[str, ...]] = {
    "Le conseil municipal a été réuni hier soir à l'hôtel de ville. Plusieurs élèves ont présenté leurs "
    "œuvres, et la maîtresse a félicité chacun d'eux.": ("cp1252", "mac_roman", "cp850"),
    "Die Straßenbahn fährt über die große Brücke nach Süden. Während der Ferien können die Schüler "
    "ermäßigte Karten kaufen, müssen aber einen gültigen": ("cp1252", "mac_roman", "cp850"),
    "Wczoraj wieczorem odbyło się posiedzenie rady miejskiej. Mieszkańcy pytali, dlaczego nie można już "
    "przejść przez stary most, i żądali szybkiej": ("cp1250", "iso8859_2"),
    "Včera večer se v městské radnici sešla komise, aby projednala nový územní plán. Občané se ptali, "
    "proč bude cesta uzavřena a kdy se začne s opravou.": ("cp1250", "iso8859_2"),
    "A városi tanács tegnap este ülést tartott. Az őszi szünet után a gyerekek új könyveket kapnak, és a "
    "tanító felolvassa nekik a régi meséket. Később": ("cp1250", "iso8859_2"),
    "Dün akşam belediye meclisi toplandı ve yeni köprünün yapılmasına karar verdi. Çocuklar okula "
    "giderken artık ırmağın üzerinden geçebilecekler. Yağmur": ("cp1254", "iso8859_9"),
    "Vakar vakare posėdžiavo miesto taryba. Gyventojai klausė, kodėl negalima eiti per senąjį tiltą, ir "
    "reikalavo greito remonto. Meras atsakė, kad darbai": ("cp1257", "iso8859_13"),
    "Вчера вечером состоялось заседание городского совета. Жители спрашивали, почему нельзя пройти через "
    "старый мост, и требовали скорого ремонта. Глава": ("cp1251", "koi8_r", "iso8859_5", "cp866"),
    "Χθες το βράδυ συνεδρίασε το δημοτικό συμβούλιο. Οι κάτοικοι ρώτησαν γιατί δεν μπορούν να περάσουν "
    "από την παλιά γέφυρα και ζήτησαν γρήγορη επισκευή.": ("cp1253", "iso8859_7"),
    "אתמול בערב התכנסה מועצת העיר. התושבים שאלו מדוע אי אפשר לעבור על הגשר הישן ודרשו תיקון מהיר. ראש "
    "העיר השיב שהעבודות יתחילו באביב, כאשר יפסקו הגשמים.": ("cp1255", "iso8859_8"),
    "عقد مجلس المدينة جلسة مساء أمس. سأل السكان لماذا لا يمكن المرور على الجسر القديم وطالبوا بإصلاح "
    "سريع. أجاب رئيس البلدية بأن الأعمال ستبدأ في الربيع": ("cp1256", "iso8859_6"),
    "เมื่อวานนี้ตอนเย็นสภาเมืองได้ประชุมกัน ชาวบ้านถามว่าทำไมจึงข้ามสะพานเก่าไม่ได้ "
    "และขอให้ซ่อมแซมโดยเร็ว นายกเทศมนตรีตอบว่างานจะเริ่มในฤดูใบไม้ผลิ เด็กๆ": ("tis_620", "cp874"),
    "昨日の夜、市議会が開かれました。住民はなぜ古い橋を渡れないのかと尋ね、早く修理してほしいと求めました"
    "。市長は、雪が解けたら春に工事を始めると答えました。子どもたちは川沿いの道を歩いて学校へ行きます。カ": (
        "shift_jis",
        "euc_jp",
    ),
    "昨天晚上市议会召开了会议。居民们问为什么不能走旧桥，并要求尽快修理。市长回答说，春天雪融化以后工程就"
    "会开始。孩子们将步行穿过田野去上学，路上要花二十分钟。": ("gb2312",),
    "昨天晚上市議會召開了會議。居民們問為什麼不能走舊橋，並要求盡快修理。市長回答說，春天雪融化以後工程就"
    "會開始。孩子們將步行穿過田野去上學，路上要花二十分鐘。": ("big5",),
    "어제 저녁에 시의회가 열렸습니다. 주민들은 왜 옛 다리를 건널 수 없는지 물었고 빨리 고쳐 달라고 "
    "요구했습니다. 시장은 봄에 눈이 녹으면 공사를 시작하겠다고 대답했습니다. 아이들은 들판을 지나 걸어서": ("euc_kr",),
}
ENCODED = [(text, encoding) for text, encodings in SENTENCES.items() for encoding in encodings]
MARKUP = '<div class="text">\n<p>{}</p>\n<a href="index.html">Home page of the site</a></div>'


@pytest.mark.parametrize(("text", "encoding"), ENCODED, ids=[f"{text[:4]}-{encoding}" for text, encoding in ENCODED])
@pytest.mark.parametrize("shape", ["{}", "{:.70}", MARKUP], ids=["sentences", "one line", "markup"])
def test_common_encodings_are_guessed_also_from_little_text(text: str, encoding: str, shape: str) -> None:
    text = shape.format(text)
    decoded = decode(text.encode(encoding, "ignore"))
    assert decoded.text == text.encode(encoding, "ignore").decode(encoding)
    assert decoded.guessed


@pytest.mark.parametrize(
    "text",
    ["Copyright \u00a9 2003 Some Company. All rights reserved.", "The café is open daily from 9 to 5.",
     "It\u2019s \u201cfine\u201d \u2013 really \u2026 we\u2019ve seen worse. 5\u00b0C, 10\u20ac"],
)  # fmt: skip
def test_a_sign_alone_is_no_letter(text: str) -> None:
    assert decode(text.encode("cp1252")).text == text


@pytest.mark.parametrize("encoding", ["iso2022_jp", "iso2022_kr", "hz"])
def test_encodings_of_seven_bits_are_known_by_their_escapes(encoding: str) -> None:
    text = {"iso2022_jp": "これは日本語です。", "iso2022_kr": "한국어 문장입니다.", "hz": "这是中文。"}[encoding]
    assert decode(text.encode(encoding)).text == text
    assert decode(b"a ~{ in a text, and an escape \x1b$ without effect").text.startswith("a ~{ in")


def test_bytes_that_are_no_text_in_any_encoding_are_still_decoded() -> None:
    assert decode(bytes(range(128, 256)) * 20).guessed


@pytest.mark.parametrize("name", ["", "no-such", "base64", "rot13", "\0", "zip", "é"])
def test_names_that_are_no_text_encoding_are_unknown(name: str) -> None:
    assert known(name) == ""
