/*
 * XML signatures of lots checked by the JDK alone, with secure validation on.
 *   java VerifyLots.java CA.pem FOLDER ...      each FOLDER is an unzipped lot-NNNNNN.asice
 */
import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.nio.file.Files;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Collection;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import javax.xml.crypto.Data;
import javax.xml.crypto.OctetStreamData;
import javax.xml.crypto.URIDereferencer;
import javax.xml.crypto.dsig.Reference;
import javax.xml.crypto.dsig.XMLSignature;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

public class VerifyLots {
    static final String DS = "http://www.w3.org/2000/09/xmldsig#";
    static final String XADES = "http://uri.etsi.org/01903/v1.3.2#";

    static Document parse(File file) throws Exception {
        DocumentBuilderFactory f = DocumentBuilderFactory.newInstance();
        f.setNamespaceAware(true);
        f.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        return f.newDocumentBuilder().parse(file);
    }

    static X509Certificate certificate(byte[] der) throws Exception {
        return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(der));
    }

    /* Issued by one of the authorities given. */
    static boolean issued(X509Certificate cert, Collection<? extends java.security.cert.Certificate> authorities) {
        for (java.security.cert.Certificate ca : authorities) {
            try {
                cert.verify(ca.getPublicKey());
                return true;
            } catch (Exception e) {
                continue;
            }
        }
        return false;
    }

    /* Secure validation forbids file: references, so the container's files are handed over by name. */
    static URIDereferencer files(File folder, URIDereferencer otherwise) {
        return (uri, context) -> {
            if (uri.getURI().startsWith("#"))
                return otherwise.dereference(uri, context);
            if (!List.of("lot.xml", "SHA256SUMS", "previous-signatures.xml").contains(uri.getURI()))
                throw new javax.xml.crypto.URIReferenceException("not a file of a lot: " + uri.getURI());
            try {
                return (Data) new OctetStreamData(new FileInputStream(new File(folder, uri.getURI())));
            } catch (java.io.FileNotFoundException e) {
                throw new javax.xml.crypto.URIReferenceException(e);
            }
        };
    }

    static void verify(File folder, Collection<? extends java.security.cert.Certificate> authorities) throws Exception {
        Document doc = parse(new File(folder, "META-INF/signatures0.xml"));
        Element signature = (Element) doc.getElementsByTagNameNS(DS, "Signature").item(0);
        Element properties = (Element) doc.getElementsByTagNameNS(XADES, "SignedProperties").item(0);
        String pem = doc.getElementsByTagNameNS(DS, "X509Certificate").item(0).getTextContent();
        X509Certificate signer = certificate(java.util.Base64.getMimeDecoder().decode(pem));
        DOMValidateContext context = new DOMValidateContext(signer.getPublicKey(), signature);
        XMLSignatureFactory factory = XMLSignatureFactory.getInstance("DOM");
        Set<String> covered = new HashSet<>();

        context.setProperty("org.jcp.xml.dsig.secureValidation", Boolean.TRUE);
        context.setIdAttributeNS(properties, null, "Id");
        context.setURIDereferencer(files(folder, factory.getURIDereferencer()));
        XMLSignature parsed = factory.unmarshalXMLSignature(context);
        if (!parsed.validate(context)) {
            for (Iterator<?> i = parsed.getSignedInfo().getReferences().iterator(); i.hasNext();) {
                Reference r = (Reference) i.next();
                System.err.println(folder.getName() + ": " + r.getURI() + " " + r.validate(context));
            }
            throw new Exception(folder.getName() + ": the JDK does not accept the signature");
        }
        for (Object r : parsed.getSignedInfo().getReferences())
            covered.add(((Reference) r).getURI());
        Set<String> wanted = new HashSet<>(Set.of("lot.xml", "SHA256SUMS", "#" + properties.getAttribute("Id")));
        if (new File(folder, "previous-signatures.xml").exists())
            wanted.add("previous-signatures.xml");
        if (!covered.equals(wanted))
            throw new Exception(folder.getName() + ": the signature covers " + covered + ", not " + wanted);
        boolean[] usage = signer.getKeyUsage();
        if (!issued(signer, authorities) || usage == null || !usage[0] || !usage[1])
            throw new Exception(folder.getName() + ": signed by " + signer.getSubjectX500Principal() + ", who may not");
    }

    public static void main(String[] args) throws Exception {
        Collection<? extends java.security.cert.Certificate> authorities;

        try (FileInputStream in = new FileInputStream(args[0])) {
            authorities = CertificateFactory.getInstance("X.509").generateCertificates(in);
        }
        for (int i = 1; i < args.length; i++)
            verify(new File(args[i]), authorities);
        System.out.println("JDK " + System.getProperty("java.version") + ": " + (args.length - 1) + " signatures hold");
    }
}
