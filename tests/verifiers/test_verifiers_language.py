"""Languages: told apart where they can be, unknown where not."""

# ruff: noqa: RUF001  # letters of many languages look alike; that is the point

import pytest

from langroute.verifiers import Language
from langroute.verifiers.language import detect_language

SAMPLES = {
    "ar": "تم توقيع العقد في شهر مارس ولا يمكن إلغاؤه قبل نهاية السنة.",
    "cs": "Smlouva byla podepsána v březnu a nelze ji vypovědět před koncem roku.",
    "da": "Aftalen blev underskrevet i marts, og hvad den koster, står der ikke noget om efter side to.",
    "de": "Der Vertrag wurde im März unterzeichnet und kann nicht vor Jahresende gekündigt werden.",
    "el": "Η σύμβαση υπογράφηκε τον Μάρτιο και δεν μπορεί να καταγγελθεί πριν από το τέλος του έτους.",
    "en": "The contract was signed in March and cannot be terminated before the end of the year.",
    "es": "El contrato se firmó en marzo y no puede rescindirse antes de que termine el año.",
    "fr": "Le contrat a été signé en mars et ne peut pas être résilié avant la fin de l'année.",
    "he": "החוזה נחתם במרץ ואי אפשר לבטל אותו לפני סוף השנה.",
    "hi": "अनुबंध पर मार्च में हस्ताक्षर हुए थे और इसे साल के अंत से पहले रद्द नहीं किया जा सकता।",
    "it": "Il contratto è stato firmato a marzo e non può essere risolto prima della fine dell'anno.",
    "ja": "契約は三月に署名され、年末までは解約できません。",
    "ko": "계약은 3월에 체결되었으며 연말 이전에는 해지할 수 없습니다.",
    "nl": "Het contract is in maart ondertekend en kan niet voor het einde van het jaar worden opgezegd.",
    "no": "Hva koster det å leie en bil i en uke, og hva må jeg se etter?",
    "pl": "Umowa została podpisana w marcu i nie może być rozwiązana przed końcem roku.",
    "pt": "O contrato foi assinado em março e não pode ser rescindido antes do fim do ano.",
    "ro": "Contractul a fost semnat în martie și nu poate fi reziliat înainte de sfârșitul anului.",
    "ru": "Договор был подписан в марте, и его нельзя расторгнуть до конца этого года.",
    "sv": "Avtalet undertecknades i mars och kan inte sägas upp före årets slut.",
    "th": "สัญญาลงนามในเดือนมีนาคมและไม่สามารถยกเลิกได้ก่อนสิ้นปี",
    "tr": "Sözleşme mart ayında imzalandı ve yıl sonundan önce feshedilemez, çünkü bu bir şarttır.",
    "uk": "Договір було підписано в березні, і його не можна розірвати до кінця року.",
    "zh": "合同于三月签署,年底之前不得解除。",
}


@pytest.mark.parametrize(("code", "text"), SAMPLES.items())
def test_a_sentence_tells_its_language(code, text):
    assert detect_language(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "42 km",
        "OK",
        "https://example.org/the-and-of",
        "`for x in the: of`",
        "Angela Merkel, Berlin",
    ],
)
def test_a_name_a_number_or_code_is_in_no_language(text):
    assert detect_language(text) is None


def test_foreign_terms_do_not_change_the_language():
    assert detect_language("Das API-Gateway wird mit dem Load Balancer über TLS verbunden.") == "de"
    assert detect_language("The German word 'Vertrag' and the Japanese 契約 both mean contract.") == "en"


@pytest.mark.parametrize(
    ("expected", "text", "accepted"),
    [
        ("en", SAMPLES["en"], True),
        ("en", SAMPLES["de"], False),
        ("ja", SAMPLES["zh"], False),
        ("de", "42 km", True),
        ("de", "Paris", True),
        ("ja", "東京", True),
        ("ko", "漢江", True),
        ("ja", "Paris", True),
        ("en", "東京", False),
        ("en", "是的,可以。", False),
        ("en", "α + β = 2", True),
        ("en", "東京 (Tokyo)", True),
        ("de", "Привет", False),
        ("ru", "Привет", True),
        ("ja", "Привет", False),
        ("zh", "mkataba ulitiwa saini mwezi wa tatu", False),
        ("he", "API: get_user, set_user", True),
    ],
)
def test_reply_must_be_in_the_language_that_is_wanted(verdict, expected, text, accepted):
    assert verdict(Language(expected=expected), text).accepted is accepted


@pytest.mark.parametrize(
    ("question", "accepted"),
    [
        (SAMPLES["de"], True),
        (SAMPLES["en"], False),
        ("1 + 1?", True),
        (SAMPLES["en"] * 9 + SAMPLES["de"] * 9, True),
    ],
)
def test_reply_must_be_in_the_language_of_the_question(verdict, question, accepted):
    assert verdict(Language(expected="same"), SAMPLES["de"], question=question).accepted is accepted
