using FedICU;
using FedICU.Fedn;

try
{
    await using WebApplication app = FednHost.Build(args);
    await app.RunAsync();
    return 0;
}
// a port that is taken, a certificate that is not there: Kestrel's own sentences
catch (Exception e) when (e is FedIcuException or IOException or System.Security.Cryptography.CryptographicException)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}
