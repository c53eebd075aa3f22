using FedICU;
using FedICU.Fedn;

try
{
    await using WebApplication app = FednHost.Build(args);
    await app.RunAsync();
    return 0;
}
catch (FedIcuException e)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}
