package sample

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// name is a name as its bearer writes it, and in ASCII after a slash where that differs.
type name string

func (n name) native() string {
	native, _, _ := strings.Cut(string(n), "/")
	return native
}

// ascii returns the name as it appears in an e-mail address.
func (n name) ascii() string {
	native, ascii, ok := strings.Cut(string(n), "/")
	if !ok {
		ascii = native
	}
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\'' || r == '-' {
			return -1
		}
		return r
	}, strings.ToLower(ascii))
}

// town has a postal code in which every # is a digit.
type town struct{ name, state, code string }

func (t town) postalCode(r *rand.Rand) string { return digits(r, t.code) }

// place is where people live and what they are called there.
type place struct {
	country, locale, timeZone string
	// number is a telephone number in which every # is a digit.
	number     string
	numberLast bool // house numbers follow the street
	first      []name
	last       []name
	streets    []string
	towns      []town
}

func (p *place) phone(r *rand.Rand) string { return digits(r, p.number) }

func digits(r *rand.Rand, pattern string) string {
	var b strings.Builder
	for i := range len(pattern) {
		if pattern[i] == '#' {
			b.WriteString(strconv.Itoa(r.IntN(10)))
		} else {
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}

var places = []place{
	{
		country: "United States", locale: "en_US", timeZone: "America/New_York", number: "+1 212 555 01##",
		first:   []name{"Olivia", "Liam", "Ava", "Noah", "Mia", "Ethan", "Grace", "Mason", "Chloe", "Logan", "Zoe", "Caleb"},
		last:    []name{"Smith", "Johnson", "Carter", "O'Connor", "Bennett", "Hughes", "Brooks", "Ward", "Foster", "Reed", "Hayes", "St. Clair"},
		streets: []string{"Maple Avenue", "Oak Street", "Cedar Lane", "Elm Drive", "Lake Road"},
		towns:   []town{{"Albany", "NY", "122##"}, {"Springfield", "MA", "011##"}, {"Columbus", "OH", "432##"}, {"Trenton", "NJ", "086##"}},
	},
	{
		country: "United Kingdom", locale: "en_GB", timeZone: "Europe/London", number: "+44 20 7946 0###",
		first:   []name{"Amelia", "Oliver", "Isla", "Harry", "Freya", "Alfie", "Siân/Sian", "Rhys", "Eilidh", "Callum"},
		last:    []name{"Taylor", "Evans", "MacDonald", "Fitzgerald-Jones", "Walker", "Thompson", "Hall", "Green", "Clarke", "Shaw"},
		streets: []string{"High Street", "Church Road", "Station Approach", "Mill Lane", "The Green"},
		towns:   []town{{"York", "North Yorkshire", "YO1 #AB"}, {"Cardiff", "", "CF10 #BH"}, {"Leeds", "West Yorkshire", "LS1 #DT"}},
	},
	{
		country: "Germany", locale: "de_DE", timeZone: "Europe/Berlin", number: "+49 30 23125 ###", numberLast: true,
		first:   []name{"Jürgen/Juergen", "Anke", "Sören/Soeren", "Käthe/Kaethe", "Lukas", "Hannah", "Björn/Bjoern", "Lena", "Günther/Guenther", "Marie"},
		last:    []name{"Müller/Mueller", "Schmidt", "Weiß/Weiss", "Groß/Gross", "Schäfer/Schaefer", "Köhler/Koehler", "von der Heide", "Becker", "Böhm/Boehm", "Vogel"},
		streets: []string{"Hauptstraße", "Gartenweg", "Bahnhofstraße", "Lindenallee", "Am Mühlbach"},
		towns:   []town{{"München", "Bayern", "803##"}, {"Köln", "Nordrhein-Westfalen", "506##"}, {"Düsseldorf", "Nordrhein-Westfalen", "402##"}, {"Jena", "Thüringen", "077##"}},
	},
	{
		country: "France", locale: "fr_FR", timeZone: "Europe/Paris", number: "+33 1 99 00 ## ##",
		first:   []name{"Zoé/Zoe", "François/Francois", "Léa/Lea", "Jérôme/Jerome", "Anaïs/Anais", "Hugo", "Élodie/Elodie", "Mathéo/Matheo", "Noémie/Noemie", "Théo/Theo"},
		last:    []name{"Lefèvre/Lefevre", "Dupré/Dupre", "Garçon/Garcon", "Moreau", "Bélanger/Belanger", "d'Aubigné/Daubigne", "Chevalier", "Noël/Noel", "Fournier", "Leclerc"},
		streets: []string{"rue de l'Église", "avenue Victor-Hugo", "place du Marché", "chemin des Écoliers"},
		towns:   []town{{"Orléans", "Loiret", "450##"}, {"Besançon", "Doubs", "250##"}, {"Nîmes", "Gard", "300##"}},
	},
	{
		country: "Spain", locale: "es_ES", timeZone: "Europe/Madrid", number: "+34 910 555 0##", numberLast: true,
		first:   []name{"José/Jose", "María/Maria", "Íñigo/Inigo", "Lucía/Lucia", "Andrés/Andres", "Sofía/Sofia", "Begoña/Begona", "Ángel/Angel", "Inés/Ines", "Raúl/Raul"},
		last:    []name{"García Márquez/GarciaMarquez", "Núñez/Nunez", "Ibáñez/Ibanez", "López/Lopez", "Peña/Pena", "Jiménez/Jimenez", "Muñoz/Munoz", "Castaño/Castano", "Vázquez/Vazquez", "Ortega"},
		streets: []string{"Calle Mayor", "Avenida de la Constitución", "Paseo de Gracia", "Plaza España"},
		towns:   []town{{"Málaga", "Andalucía", "290##"}, {"A Coruña", "Galicia", "150##"}, {"Cádiz", "Andalucía", "110##"}},
	},
	{
		country: "Poland", locale: "pl_PL", timeZone: "Europe/Warsaw", number: "+48 22 555 0# ##", numberLast: true,
		first:   []name{"Łukasz/Lukasz", "Małgorzata/Malgorzata", "Paweł/Pawel", "Agnieszka", "Stanisław/Stanislaw", "Zofia", "Michał/Michal", "Jędrzej/Jedrzej"},
		last:    []name{"Wójcik/Wojcik", "Kowalczyk", "Dąbrowska/Dabrowska", "Zieliński/Zielinski", "Woźniak/Wozniak", "Błaszczyk/Blaszczyk", "Gąsior/Gasior", "Żak/Zak"},
		streets: []string{"ul. Długa", "ul. Piłsudskiego", "al. Jerozolimskie", "ul. Świętokrzyska"},
		towns:   []town{{"Łódź", "łódzkie", "90-0##"}, {"Kraków", "małopolskie", "30-0##"}, {"Gdańsk", "pomorskie", "80-8##"}},
	},
	{
		country: "Türkiye", locale: "tr_TR", timeZone: "Europe/Istanbul", number: "+90 212 555 0# ##",
		first:   []name{"Ayşe/Ayse", "Mehmet", "Işıl/Isil", "Çağlar/Caglar", "Gül/Gul", "İbrahim/Ibrahim", "Özge/Ozge", "Uğur/Ugur"},
		last:    []name{"Yılmaz/Yilmaz", "Öztürk/Ozturk", "Şahin/Sahin", "Çelik/Celik", "Doğan/Dogan", "Güneş/Gunes", "Kılıç/Kilic"},
		streets: []string{"İstiklal Caddesi", "Atatürk Bulvarı", "Bağdat Caddesi"},
		towns:   []town{{"İstanbul", "İstanbul", "344##"}, {"İzmir", "İzmir", "352##"}},
	},
	{
		country: "Sweden", locale: "sv_SE", timeZone: "Europe/Stockholm", number: "+46 8 465 004 ##", numberLast: true,
		first:   []name{"Åsa/Asa", "Björn/Bjorn", "Göran/Goran", "Linnéa/Linnea", "Märta/Marta", "Oskar", "Elsa", "Håkan/Hakan"},
		last:    []name{"Åkesson/Akesson", "Sjöberg/Sjoberg", "Lindström/Lindstrom", "Öberg/Oberg", "Nyström/Nystrom", "Ek", "Håkansson/Hakansson"},
		streets: []string{"Storgatan", "Kungsgatan", "Björkvägen", "Ängsgatan"},
		towns:   []town{{"Malmö", "Skåne", "211 ##"}, {"Göteborg", "Västra Götaland", "411 ##"}, {"Umeå", "Västerbotten", "903 ##"}},
	},
	{
		country: "Brazil", locale: "pt_BR", timeZone: "America/Sao_Paulo", number: "+55 11 5550-01##", numberLast: true,
		first:   []name{"João/Joao", "Conceição/Conceicao", "Thaís/Thais", "Antônio/Antonio", "Letícia/Leticia", "Caio", "Flávia/Flavia", "Vinícius/Vinicius"},
		last:    []name{"Gonçalves/Goncalves", "Assunção/Assuncao", "Araújo/Araujo", "da Silva Simões/SilvaSimoes", "Brandão/Brandao", "Mendes", "Falcão/Falcao"},
		streets: []string{"Rua das Acácias", "Avenida São João", "Praça da Sé", "Rua Augusta"},
		towns:   []town{{"São Paulo", "SP", "010##-000"}, {"Goiânia", "GO", "740##-010"}, {"Florianópolis", "SC", "880##-300"}},
	},
	{
		country: "Japan", locale: "ja_JP", timeZone: "Asia/Tokyo", number: "+81 3 5550 01##",
		first:   []name{"さくら/Sakura", "陽翔/Haruto", "美咲/Misaki", "健太/Kenta", "結衣/Yui", "大輝/Daiki", "葵/Aoi", "蓮/Ren"},
		last:    []name{"佐藤/Sato", "鈴木/Suzuki", "高橋/Takahashi", "田中/Tanaka", "渡辺/Watanabe", "伊藤/Ito", "山本/Yamamoto", "中村/Nakamura"},
		streets: []string{"桜通り", "本町", "駅前通り"},
		towns:   []town{{"京都市", "京都府", "600-80##"}, {"札幌市", "北海道", "060-00##"}, {"福岡市", "福岡県", "810-00##"}},
	},
	{
		country: "Greece", locale: "el_GR", timeZone: "Europe/Athens", number: "+30 21 0555 01##", numberLast: true,
		first:   []name{"Ελένη/Eleni", "Γιώργος/Giorgos", "Μαρία/Maria", "Νίκος/Nikos", "Κατερίνα/Katerina", "Δημήτρης/Dimitris"},
		last:    []name{"Παπαδόπουλος/Papadopoulos", "Νικολάου/Nikolaou", "Γεωργίου/Georgiou", "Οικονόμου/Oikonomou", "Βασιλείου/Vasileiou"},
		streets: []string{"Ερμού", "Πανεπιστημίου", "Λεωφόρος Συγγρού"},
		towns:   []town{{"Αθήνα", "Αττική", "105 ##"}, {"Θεσσαλονίκη", "Κεντρική Μακεδονία", "546 ##"}},
	},
	{
		country: "Viet Nam", locale: "vi_VN", timeZone: "Asia/Ho_Chi_Minh", number: "+84 24 5550 01##",
		first:   []name{"Thị Hương/ThiHuong", "Văn Đức/VanDuc", "Ngọc Ánh/NgocAnh", "Quốc Bảo/QuocBao", "Thu Thảo/ThuThao"},
		last:    []name{"Nguyễn/Nguyen", "Trần/Tran", "Lê/Le", "Phạm/Pham", "Đặng/Dang", "Võ/Vo", "Bùi/Bui"},
		streets: []string{"đường Lê Lợi", "phố Huế", "đường Nguyễn Trãi"},
		towns:   []town{{"Hà Nội", "", "1100##"}, {"Đà Nẵng", "", "5500##"}, {"Huế", "Thừa Thiên Huế", "4910##"}},
	},
	{
		country: "Egypt", locale: "ar_EG", timeZone: "Africa/Cairo", number: "+20 2 5550 01##",
		first:   []name{"محمد/Mohamed", "فاطمة/Fatma", "أحمد/Ahmed", "نور/Nour", "يوسف/Youssef", "مريم/Mariam"},
		last:    []name{"حسن/Hassan", "إبراهيم/Ibrahim", "السيد/ElSayed", "منصور/Mansour", "خليل/Khalil"},
		streets: []string{"شارع التحرير", "شارع النيل", "شارع الجمهورية"},
		towns:   []town{{"القاهرة", "القاهرة", "115##"}, {"الإسكندرية", "الإسكندرية", "215##"}},
	},
}

var (
	domains       = []string{"example.com", "example.org", "mail.example.com", "staff.example.org", "alumni.example.com"}
	titles        = []string{"Student", "Teaching Assistant", "Lecturer", "Professor", "Librarian", "Lab Technician", "Registrar", "Dean", "IT Analyst", "Programme Manager", "Research Fellow", "Career Advisor"}
	departments   = []string{"Admissions", "Biology", "Business, Law & Economics", "Computer Science", "Design", "Finance", "History", "Library Services", "Mathematics", "Nursing", "Physics", `School of "Open" Learning`}
	organizations = []string{"Fernhill College", "Harbour Institute of Technology", "Lakeside Academy", "Meridian University", "Oakbridge School", "Riverton Polytechnic", "Stonegate Training", "Universität am See", "Écoles du Midi"}
	groupNames    = []string{"students", "staff", "faculty", "alumni"}
	extraGroups   = []string{"beta testers", "mentors", "newsletter", "on campus", "scholarship"}
)
